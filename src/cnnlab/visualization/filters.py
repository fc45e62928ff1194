"""Learned kernels: the first layer as pictures, deeper ones as tiles, and their development."""

from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.visualization import grid
from cnnlab.visualization.figures import Picture, new_figure, show
from cnnlab.visualization.probe import Probe
from cnnlab.visualization.walk import check_layer, check_units, layers_of, layers_with

MOST_KERNELS, MOST_INPUTS = 32, 48
MOST_MOMENTS = 8


def chroma(kernels: Tensor) -> Tensor:
    """Return the share of each kernel's energy that is colour: [K,3,h,w] -> [K] in 0..1.

    0: the three channels are equal, the kernel sees grey only; 1: they cancel, it sees colour only.
    Energy is the sum of squares, its grey part that of the channel mean repeated. This is our
    measure for the paper's words "color-agnostic" and "color-specific".
    """
    grey = 3 * kernels.mean(1).square().flatten(1).sum(1)
    energy = kernels.square().flatten(1).sum(1)
    share = 1 - grey / energy.clamp_min(torch.finfo(kernels.dtype).tiny)
    return torch.where(energy > 0, share.clamp(0, 1), torch.zeros_like(share))


def num_towers(model: nn.Module) -> int:
    """Return the towers of the first convolution: the groups in which the second one reads it."""
    convolutions = layers_with(model, "conv")
    return int(getattr(convolutions[1].module, "groups", 1)) if len(convolutions) > 1 else 1


def kernels_of(model: nn.Module, name: str) -> Tensor:
    """Return a copy of the kernels of a layer: [K,C,h,w], also of a fully connected one on pixels.

    Raises UsageError when the layer has no kernels that can be laid out as pictures.
    """
    layers = layers_of(model)
    layer = next(one for one in layers if one.name == name)
    if layer.role == "conv":
        return dense_weight(layer.module).detach().float().cpu()
    before = [one.role for one in layers[: layers.index(layer)]]
    if layer.role == "fc" and set(before) <= {"flatten"}:
        side: Any = model.input_size_pixels
        return layer.module.weight.detach().float().cpu().unflatten(1, (-1, side, side))
    names = ", ".join(one.name for one in layers_with(model, "conv"))
    raise UsageError(
        f"layer {name} has no kernels to draw", hint=f"convolutions: {names or 'none'}"
    )


def dense_weight(module: nn.Module) -> Tensor:
    """Return a convolution's kernels [K,C/groups,h,w]; links that do not exist are zero."""
    weight: Any = module.weight
    dense: Any = getattr(module, "dense", None)  # a connection table keeps its links alone
    kernels = weight if dense is None else dense(weight)
    assert isinstance(kernels, Tensor)
    return kernels


def draw_filters(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw the kernels of the first layer, or of the asked-for one.

    Source: Krizhevsky et al. 2012, figure 3 (first layer, towers apart).
    """
    name = _kernel_layer(model, probe)
    kernels = kernels_of(model, name)
    if kernels.shape[1] in (1, 3):
        towers = num_towers(model) if name == _first(model) else 1
        return [_draw_as_images(probe, name, kernels, towers)]
    return [_draw_as_tiles(probe, name, kernels)]


def draw_filter_evolution(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw a layer's kernels at each saved checkpoint, oldest on top; at most eight of them."""
    if probe.checkpoints is None:
        raise UsageError("filter_evolution needs the checkpoints of a run folder")
    name = _kernel_layer(model, probe)
    moments = [(title, kernels_of(saved, name)) for title, saved in probe.checkpoints()]
    moments = evenly(moments, MOST_MOMENTS)
    title = probe.title(f"layer {name}", "kernels over training")
    figure = new_figure(9, 0.9 * len(moments) + 0.8, title)
    axes = figure.subplots(len(moments), 1, squeeze=False)[:, 0]
    for one, (moment, kernels) in zip(axes, moments, strict=True):
        chosen = kernels[:MOST_KERNELS]
        pictures = chosen if chosen.shape[1] in (1, 3) else chosen[:, :1]
        show(one, grid.tile(grid.signed_to_grey(pictures), len(pictures)))
        one.set_title(moment, fontsize=8, loc="left", pad=2)
    caption = (
        "A column is one kernel, scaled by its own largest weight at that moment; grey is zero."
        + ("" if moments[0][1].shape[1] in (1, 3) else " Of each kernel its first input is shown.")
    )
    return [Picture("filter_evolution", title, caption, figure)]


def evenly(items: list[Any], most: int) -> list[Any]:
    """Return at most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _first(model: nn.Module) -> str:
    return str(next(one.name for one in layers_of(model) if one.role in ("conv", "fc")))


def _kernel_layer(model: nn.Module, probe: Probe) -> str:
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
        show(one, grid.tile(grid.signed_to_grey(kernels[part]), columns), label)
    caption = "Each kernel is scaled by its own largest weight; grey is zero."
    if scores is not None:
        caption += " Chroma: the share of a kernel's energy that is colour, 0 grey, 1 colour only."
    return Picture("filters", title, caption, figure, facts)


def _draw_as_tiles(probe: Probe, name: str, kernels: Tensor) -> Picture:
    """Draw one row a kernel and one tile an input; what does not fit is left out and said."""
    wanted = tuple(range(len(kernels))) if probe.units is None else probe.units
    units = list(check_units(wanted, len(kernels), name)[:MOST_KERNELS])
    shown = kernels[units, :MOST_INPUTS]
    title = probe.title(f"layer {name}", f"kernels of {len(units)} units")
    tiles = grid.signed_to_grey(shown).flatten(0, 1)[:, None]
    columns = shown.shape[1]
    width = max(5.0, min(12.0, 0.4 * columns))
    figure = new_figure(width, width * len(units) / columns + 0.8, title)
    axes = figure.subplots()
    show(axes, grid.tile(tiles, columns))
    caption = (
        f"A row is one of {len(kernels)} units ({units[0]} to {units[-1]}), a tile its weights on "
        f"one input map ({columns} of {kernels.shape[1]}); each row scaled by its largest weight, "
        "grey is zero."
    )
    return Picture("filters", title, caption, figure)
