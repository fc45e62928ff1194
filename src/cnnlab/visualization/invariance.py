"""Maps that move with the image (equivariance), and answers that stay (invariance)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.eval_mode import eval_mode
from cnnlab.geometry import ReceptiveField
from cnnlab.models.network import Network
from cnnlab.mps import widest_float
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization.figures import LINES, Picture, new_figure
from cnnlab.visualization.layer_access import (
    check_layer,
    each_layer,
    hidden_layer,
    layers_of,
    layers_with,
)
from cnnlab.visualization.patches import field_of
from cnnlab.visualization.probe import Probe
from cnnlab.visualization.transformations import Transformation, shift, transformations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_CURVES = 32, 6

Errors = list[tuple[float | None, float | None]]
"""For shifts of 0, 1, 2, ... pixels the relative error (inside, over all positions)."""


def equivariance_error(
    still: Tensor, moved: Tensor, field: ReceptiveField, pixels: int, side: int
) -> tuple[float | None, float | None]:
    """Return the relative error of the moved image's maps against the moved maps.

    still, moved: maps [N,K,H,W] of the image and of the image shifted right by `pixels` >= 0. The
    still maps are read pixels/jump columns to the left, interpolated linearly where that is no
    whole number. Returned are the Euclidean norm of the difference over that of `moved` inside and
    over all positions. Inside: neither receptive field touches the border or what was shifted in.
    None where there is no such position: small maps, large fields.
    """
    width = moved.shape[-1]
    positions = torch.arange(width, device=moved.device)
    source = positions - pixels / field.jump_pixels
    left = positions - -(-pixels // field.jump_pixels)  # the unit at or left of the source
    share = (source - left).to(still.dtype)
    upper = (left + 1).clamp(0, width - 1)
    expected = torch.lerp(still[..., left.clamp(0, width - 1)], still[..., upper], share)

    start = positions * field.jump_pixels + field.start_pixels
    end = start + field.size_pixels
    first = left * field.jump_pixels + field.start_pixels
    inside = (start >= pixels) & (end <= side) & (first >= 0)
    known = left >= 0
    return _relative(expected, moved, inside), _relative(expected, moved, known)


def draw_equivariance(model: Network, probe: Probe) -> list[Picture]:
    """Draw per layer the difference between "shift, then convolve" and "convolve, then shift"."""
    images = probe.images[:MOST_IMAGES]
    names = _layers_with_maps(model, probe)
    largest = _largest_shift(model, names, images.shape[-1])

    errors: dict[str, Errors] = {name: [] for name in names}
    still = maps_of(model, probe, images, names)
    for pixels in range(largest + 1):
        moved = maps_of(model, probe, shift(images, pixels), names)
        for name in names:
            field = field_of(model, name)
            errors[name].append(
                equivariance_error(still[name], moved[name], field, pixels, images.shape[-1])
            )
    return [_equivariance_picture(model, probe, errors, len(images))]


def draw_invariance(model: Network, probe: Probe) -> list[Picture]:
    """Draw how layers and the probability change with shifts, scale and rotation.

    The first maps, the last maps and the last hidden layer. Source: Zeiler & Fergus 2014, figure 5.
    """
    images = probe.images[:MOST_IMAGES]
    names = _invariance_layers(model)
    still = maps_of(model, probe, images, names)
    ways = transformations(images.shape[-1])
    measured = {way.name: _measure(model, probe, images, still, way) for way in ways}
    return [_invariance_picture(probe, ways, measured, len(images))]


def _measure(
    model: Network, probe: Probe, images: Tensor, still: dict[str, Tensor], way: Transformation
) -> dict[str, Any]:
    """Return the amounts, the change of each layer at each of them, and the probability."""
    changes: dict[str, list[float]] = {name: [] for name in still}
    probabilities: list[float] = []
    for amount in way.amounts:
        moved = images if amount == way.still else way.apply(images, amount)
        for name, maps in maps_of(model, probe, moved, list(still)).items():
            changes[name].append(relative_change(still[name], maps))
        probabilities.append(_mean_probability(model, probe, moved, len(images)))
    return {way.unit: list(way.amounts), "changes": changes, "probability": probabilities}


def _relative(expected: Tensor, found: Tensor, where: Tensor) -> float | None:
    """Return the norm of the difference over the norm of `found`, both at the given columns.

    None without a column; NaN where a value is not finite.
    """
    if not bool(where.any()):
        return None
    wide = widest_float(found.device)
    expected, found = expected[..., where].to(wide), found[..., where].to(wide)
    norm = found.norm()
    return 0.0 if norm == 0 else float((expected - found).norm() / norm)


def relative_change(still: Tensor, moved: Tensor) -> float:
    """Return the mean over images of the relative distance between moved and still features."""
    wide = widest_float(moved.device)
    still, moved = still.flatten(1).to(wide), moved.flatten(1).to(wide)
    return float(((moved - still).norm(dim=1) / still.norm(dim=1).clamp_min(1e-12)).mean())


@torch.no_grad()
def maps_of(model: Network, probe: Probe, images: Tensor, names: list[str]) -> dict[str, Tensor]:
    with eval_mode(model):
        pixels = probe.normalize(images)
        return {
            layer.name: maps for layer, maps in each_layer(model, pixels) if layer.name in names
        }


@torch.no_grad()
def _mean_probability(model: Network, probe: Probe, images: Tensor, count: int) -> float:
    """Return the mean probability of the true class, or of the predicted one if unknown."""
    with eval_mode(model):
        probabilities = checked_probabilities(model(probe.normalize(images)))
        labels = probe.labels
        if labels is None:
            labels = model(probe.normalize(probe.images[:count])).argmax(1)
    return float(probabilities.gather(1, labels[:count, None].to(probabilities.device)).mean())


def _layers_with_maps(model: Network, probe: Probe) -> list[str]:
    """Return the chosen layer, or the convolutions and poolings whose maps are larger than 1x1."""
    pixels = probe.normalize(probe.images[:1])
    with torch.no_grad(), eval_mode(model):
        roles = {
            layer.name: layer.role
            for layer, maps in each_layer(model, pixels)
            if maps.dim() == 4 and maps.shape[-1] > 1
        }

    if probe.layer is not None and check_layer(model, probe.layer) in roles:
        return [probe.layer]
    names = [name for name, role in roles.items() if role in ("conv", "pool", "subsample")]
    if probe.layer is not None or not names:
        raise UsageError(
            f"{probe.layer or 'the network'} has no maps that could move with the image",
            hint=f"layers with maps: {', '.join(roles) or 'none'}",
        )
    return names[:MOST_CURVES]


def _largest_shift(model: Network, names: list[str], side: int) -> int:
    jumps = [field_of(model, name).jump_pixels for name in names]
    return min(2 * max(jumps), side // 2)


def _invariance_layers(model: Network) -> list[str]:
    convolutions = [one.name for one in layers_with(model, "conv")][:1]
    pools = [one.name for one in layers_with(model, "pool", "subsample")][-1:]
    last = layers_of(model)[-1].name
    hidden = [hidden_layer(model)] if len(layers_with(model, "fc", "rbf")) > 1 else []
    return list(dict.fromkeys([*convolutions, *pools, *hidden])) or [last]


def _equivariance_picture(
    model: Network, probe: Probe, errors: dict[str, Errors], count: int
) -> Picture:
    title = probe.title("translation equivariance")
    figure = new_figure(9, 4, title)
    axes = figure.subplots(1, 2, sharey=True)

    for which, heading in enumerate(("away from the border", "all places")):
        for number, (name, pairs) in enumerate(errors.items()):
            jump = field_of(model, name).jump_pixels
            _curve(axes[which], [pair[which] for pair in pairs], number, f"{name} (jump {jump})")
        axes[which].set_title(heading, fontsize=9)
        axes[which].set_xlabel("shift of the image, pixels")
        axes[which].grid(alpha=0.3)

    axes[0].set_ylabel("relative error")
    handles, labels = axes[1].get_legend_handles_labels()  # every layer has a curve there
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)

    caption = (
        f"Maps of the shifted image against the shifted maps, {count} images. Away from the "
        "border the error is zero at multiples of the layer's jump: translation equivariance. "
        "Between them the map would move by a fraction of a unit; at the border, padding shows."
    )
    if ended := [name for name, pairs in errors.items() if pairs[-1][0] is None]:
        caption += (
            " A curve ends, or is missing, where no unit is away from the border: "
            f"{', '.join(ended)}."
        )
    facts = {name: [pair[0] for pair in pairs] for name, pairs in errors.items()}
    return Picture("equivariance", title, caption, figure, facts, is_plot=True)


def _invariance_picture(
    probe: Probe,
    ways: Sequence[Transformation],
    measured: dict[str, dict[str, Any]],
    count: int,
) -> Picture:
    title = probe.title("invariance to shifts, scale and rotation")
    figure = new_figure(11, 5.2, title)
    upper, lower = figure.subplots(2, len(ways), sharex="col", sharey="row")

    for column, way in enumerate(ways):
        found = measured[way.name]
        for number, (name, values) in enumerate(found["changes"].items()):
            _curve(upper[column], values, number, name, way.amounts)
        _curve(lower[column], found["probability"], 0, "class", way.amounts)

        upper[column].set_title(way.name, fontsize=9)
        lower[column].set_xlabel(way.unit, fontsize=8)
        for axes in (upper[column], lower[column]):
            axes.axvline(way.still, color="#b5b5b5", lw=0.8, zorder=0)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=8)

    upper[0].set_ylabel("relative change of the layer", fontsize=8)
    lower[0].set_ylabel("mean probability of the class", fontsize=8)
    lower[0].set_ylim(0, 1.03)
    handles, labels = upper[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)

    caption = (
        f"{count} images shifted, scaled and turned; pixels of the border are repeated. Above: "
        "relative distance of a layer's output from that for the image itself; lower is more "
        "invariant. Below: the probability of the class."
    )
    return Picture("invariance", title, caption, figure, dict(measured), is_plot=True)


def _curve(
    axes: "Axes",
    values: Sequence[float | None],
    number: int,
    label: str,
    shifts: Sequence[float] | None = None,
) -> None:
    """Draw the values that exist over the shifts, by default 0, 1, 2, ...; none: no curve."""
    color, line, marker = LINES[number % len(LINES)]
    shifts = range(len(values)) if shifts is None else shifts
    points = [(x, y) for x, y in zip(shifts, values, strict=True) if y is not None]
    if points:
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, line, color=color, marker=marker, markersize=3, lw=1.4, label=label)
