"""Learned kernels: the first layer's as images, deeper ones as tiles, and over training."""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.models.network import Network
from cnnlab.visualization import grid
from cnnlab.visualization.figures import Picture, new_figure, show
from cnnlab.visualization.layer_access import check_layer, check_units, layers_of, layers_with
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.probe import Probe

MOST_KERNELS, MOST_INPUTS = 32, 48
MOST_MOMENTS = 8
KEEPING = f"saving.keep_spread={MOST_MOMENTS} keeps that many, spread over a training"


def chroma(kernels: Tensor) -> Tensor:
    """Return the fraction of each kernel's energy that is color: [K,3,h,w] -> [K] in 0..1.

    0: the three channels are equal, the kernel responds to gray only; 1: they sum to zero, it
    responds to color only. Energy is the sum of squares, its gray part that of the channel mean
    repeated. Our measure of what the 2012 paper calls "color-agnostic" and "color-specific".
    """
    gray = 3 * kernels.mean(1).square().flatten(1).sum(1)
    energy = kernels.square().flatten(1).sum(1)
    share = 1 - gray / energy.clamp_min(torch.finfo(kernels.dtype).tiny)
    return torch.where(energy > 0, share.clamp(0, 1), torch.zeros_like(share))


def num_towers(model: Network) -> int:
    """Return the number of towers of the first convolution: the groups of the second one."""
    convolutions = layers_with(model, "conv")
    return int(getattr(convolutions[1].module, "groups", 1)) if len(convolutions) > 1 else 1


def kernels_of(model: Network, name: str) -> Tensor:
    """Return a copy of a layer's kernels [K,C,h,w]: a convolution, or a linear layer on pixels.

    Raises UsageError when the layer has no kernels that can be drawn as images.
    """
    layers = layers_of(model)
    layer = next(one for one in layers if one.name == name)
    if layer.role == "conv":
        return dense_weight(layer.module).detach().float().cpu()

    # a linear layer that reads the pixels has weights of the shape of the image
    before = [one.role for one in layers[: layers.index(layer)]]
    if layer.role == "fc" and set(before) <= {"flatten"}:
        side = model.input_size_pixels
        weight: Any = layer.module.weight
        rows: Tensor = weight.detach().float().cpu()
        return rows.unflatten(1, (-1, side, side))

    names = ", ".join(one.name for one in layers_with(model, "conv"))
    raise UsageError(
        f"layer {name} has no kernels to draw", hint=f"convolutions: {names or 'none'}"
    )


def dense_weight(module: nn.Module) -> Tensor:
    """Return a convolution's kernels [K,C/groups,h,w]; connections that do not exist are zero."""
    weight: Any = module.weight
    dense: Any = getattr(module, "dense", None)  # a connection table stores only what is connected
    kernels = weight if dense is None else dense(weight)
    assert isinstance(kernels, Tensor)
    return kernels


def draw_filters(model: Network, probe: Probe) -> list[Picture]:
    """Draw the kernels of the first layer, or of the chosen one.

    Source: Krizhevsky et al. 2012, figure 3 (first layer, towers apart).
    """
    name = _kernel_layer(model, probe)
    kernels = kernels_of(model, name)
    if kernels.shape[1] in (1, 3):
        towers = num_towers(model) if name == _first(model) else 1
        return [_draw_as_images(probe, name, kernels, towers)]
    return [_draw_as_tiles(probe, name, kernels)]


def draw_filter_evolution(model: Network, probe: Probe) -> list[Picture]:
    """Draw a layer's kernels at each saved checkpoint, oldest on top; at most eight checkpoints."""
    if probe.checkpoints is None:
        raise UsageError("filter_evolution needs the checkpoints of a run folder", hint=KEEPING)
    name = _kernel_layer(model, probe)
    moments = [(title, kernels_of(saved, name)) for title, saved in probe.checkpoints()]
    moments = evenly(moments, MOST_MOMENTS)

    title = probe.title(f"layer {name}", "kernels over training")
    figure = new_figure(9, 0.9 * len(moments) + 0.8, title)
    axes = figure.subplots(len(moments), 1, squeeze=False)[:, 0]

    for one, (moment, kernels) in zip(axes, moments, strict=True):
        chosen = kernels[:MOST_KERNELS]
        pictures = chosen if chosen.shape[1] in (1, 3) else chosen[:, :1]
        show(one, grid.tile(grid.signed_to_gray(pictures), len(pictures)))
        one.set_title(moment, fontsize=8, loc="left", pad=2)

    caption = (
        "One column per kernel, scaled by its own largest weight at that checkpoint; gray is zero."
        + ("" if moments[0][1].shape[1] in (1, 3) else " Only each kernel's first input is shown.")
    )
    facts = {
        "moments": [moment for moment, _ in moments],
        "weights": [plain(kernels[:MOST_KERNELS]) for _, kernels in moments],
    }
    missing = missing_moments(len(moments))
    return [Picture("filter_evolution", title, caption, figure, facts, missing)]


def missing_moments(count: int) -> str:
    """Return what is said of a run that kept fewer checkpoints than can be drawn, or ""."""
    if count >= MOST_MOMENTS - 1:  # two moments of a short training may share a checkpoint
        return ""
    return f"{count} checkpoints of this run were kept; {KEEPING}."


def evenly(items: list[Any], most: int) -> list[Any]:
    """Return at most `most` of the items, evenly spaced, including the first and the last."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _first(model: Network) -> str:
    return next(one.name for one in layers_of(model) if one.role in ("conv", "fc"))


def _kernel_layer(model: Network, probe: Probe) -> str:
    return _first(model) if probe.layer is None else check_layer(model, probe.layer)


def _draw_as_images(probe: Probe, name: str, kernels: Tensor, towers: int) -> Picture:
    title = probe.title(f"layer {name}", f"{len(kernels)} kernels")
    each = -(-len(kernels) // towers)
    columns = each if each <= 8 else min(16, grid.square_columns(each, 2))
    rows = towers * -(-each // columns)
    figure = new_figure(8, 8 * rows / columns + 0.5 + 0.3 * towers, title)
    axes = figure.subplots(towers, 1, squeeze=False)[:, 0]

    scores = chroma(kernels) if kernels.shape[1] == 3 else None
    parts = torch.arange(len(kernels)).chunk(towers)
    facts: dict[str, Any] = {"kernels": len(kernels)}
    for number, (one, part) in enumerate(zip(axes, parts, strict=True), start=1):
        label = f"tower {number}" if towers > 1 else ""
        if scores is not None:
            facts[f"chroma_tower_{number}"] = float(scores[part].mean())
            label = f"{label}  mean chroma {scores[part].mean():.2f}".strip()
        show(one, grid.tile(grid.signed_to_gray(kernels[part]), columns), label)

    facts["weights"] = plain(kernels)
    caption = "Each kernel is scaled by its own largest weight; gray is zero."
    if scores is not None:
        caption += " Chroma: the fraction of a kernel's energy that is color; 0 is gray."
    return Picture("filters", title, caption, figure, facts)


def _draw_as_tiles(probe: Probe, name: str, kernels: Tensor) -> Picture:
    """Draw one row per kernel and one tile per input; the caption says how many are shown."""
    wanted = tuple(range(len(kernels))) if probe.units is None else probe.units
    units = list(check_units(wanted, len(kernels), name)[:MOST_KERNELS])
    shown = kernels[units, :MOST_INPUTS]

    title = probe.title(f"layer {name}", f"kernels of {len(units)} units")
    tiles = grid.signed_to_gray(shown).flatten(0, 1)[:, None]
    columns = shown.shape[1]
    width = max(5.0, min(12.0, 0.4 * columns))
    figure = new_figure(width, width * len(units) / columns + 0.8, title)
    axes = figure.subplots()
    show(axes, grid.tile(tiles, columns))

    caption = (
        f"One row per unit ({units[0]} to {units[-1]} of {len(kernels)}), one tile per input map "
        f"({columns} of {kernels.shape[1]}); each row is scaled by its largest weight, gray is "
        "zero."
    )
    facts = {"layer": name, "units": units, "weights": plain(shown)}
    return Picture("filters", title, caption, figure, facts)
