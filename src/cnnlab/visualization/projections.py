"""Projections of units to the pixels: of single images, and of each unit's top nine in a set."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.geometry import ReceptiveField
from cnnlab.models.network import Network
from cnnlab.visualization import grid
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    Picture,
    new_figure,
    number_in_corner,
    outline,
    show,
    show_labeled,
)
from cnnlab.visualization.layer_access import (
    check_layer,
    check_units,
    flatten_positions,
    layers_of,
    map_width,
    maps_at,
)
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.patches import (
    corners,
    covers_image,
    cut,
    deepest_local_layer,
    field_of,
)
from cnnlab.visualization.probe import Probe, in_parts, needed_set
from cnnlab.visualization.top_activations import TopActivations, find_top_activations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE_PIXELS = 72
MOST_ROWS, MOST_COLUMNS = 8, 9
MOST_UNITS = 32
SILENT_GRAY = 0.85
BOX_COLORS = (ORANGE, BLUE, GREEN)
"""Of the units whose fields are drawn into the image, the strongest first."""


def draw_projections(model: Network, probe: Probe) -> list[Picture]:
    """Draw each image with the projections of its strongest units, in descending order.

    At most 8 images and 9 units. Each projection is cut to the receptive field of its unit.
    """
    images = probe.images[:MOST_ROWS]
    layer = chosen_layer(model, probe)
    pixels = probe.normalize(images)
    with torch.no_grad(), eval_mode(model):
        maps = maps_at(model, pixels, layer)
    peaks, positions = flatten_positions(maps).max(2)  # [N,K] each
    units = _units_of_each(probe, peaks, layer)  # [N,U]
    projected = _project_all(model, pixels, layer, units, probe.signal)  # [N,U,C,S,S]
    positions = positions.gather(1, units)

    count = units.shape[1]
    figure = new_figure(1.2 * (count + 1), 1.35 * len(images) + 0.6, _title(probe, layer))
    axes = figure.subplots(len(images), 2, squeeze=False, width_ratios=[1, count])
    field = field_of(model, layer)

    for n, (left, right) in enumerate(axes):
        show(left, grid.pixels_to_unit(images[n]), _image_title(probe, n))
        top_left = corners(field, positions[n], map_width(maps))
        tiles = _tiles(grid.signed_to_gray(projected[n]), field, top_left)
        labels = [f"unit {unit}: {peaks[n, unit]:.2g}" for unit in units[n].tolist()]
        boxes = 0 if covers_image(field, images.shape[-1]) else min(len(BOX_COLORS), count)
        colors = [*BOX_COLORS[:boxes], *[BLACK] * (count - boxes)]
        for u in reversed(range(boxes)):  # the strongest on top
            _box(left, field, top_left[u], u)
            labels[u] = f"[{u + 1}] {labels[u]}"
        show_labeled(right, tiles, labels, count, colors)

    caption = (
        f"Left: the image. Right: {count} units of {layer}, each projected to the pixels "
        f"({probe.signal}) and cut to its receptive field of {field.size_pixels} pixels; gray is "
        "zero, the number is the activation."
    )
    if not covers_image(field, images.shape[-1]):
        caption += " Boxes: the fields of the first three units, by their numbers and colors."
    facts = {
        "layer": layer,
        "units": units.tolist(),
        "activations": plain(peaks.gather(1, units)),
        "positions": positions.tolist(),
    }
    return [Picture("deconvnet", _title(probe, layer), caption, figure, facts)]


def draw_top9(model: Network, probe: Probe) -> list[Picture]:
    """Draw the top nine images of each unit: the projections beside the patches.

    The set is streamed once. Source: Zeiler & Fergus 2014, figure 2.
    """
    image_set = needed_set(probe.image_set, "top9", "image")
    layer = chosen_layer(model, probe)
    strongest = find_top_activations(model, image_set.batches(), probe.normalize, layer)
    units = chosen_units(probe, strongest, layer)
    projections, patches = project_top_activations(model, probe, layer, strongest, units)

    title = probe.title(f"layer {layer}", "strongest images", probe.signal)
    silent = never_firing(model, layer, strongest)
    figure = _pairs_page(title, units, projections, patches, strongest, silent)
    field = field_of(model, layer)
    caption = (
        f"For each unit of {layer} the {strongest.values.shape[1]} images of "
        f"{image_set.num_images} with its largest activations: left projected to the pixels "
        f"({probe.signal}; gray is zero), right the patches, cut to the receptive field of "
        f"{min(field.size_pixels, probe.size_pixels)} pixels."
    )
    if silent:
        caption += f" {len(silent)} of the {len(strongest.values)} units fire on no image."

    facts = {
        "layer": layer,
        "units": units.tolist(),
        "indices": strongest.indices[units].tolist(),
        "activations": plain(strongest.values[units]),
        "never_firing": sorted(silent),
    }
    return [Picture("top9", title, caption, figure, facts)]


def chosen_layer(model: Network, probe: Probe) -> str:
    """Return the chosen layer, checked, or by default the deepest whose units see patches."""
    if probe.layer is None:
        return deepest_local_layer(model, probe.size_pixels)
    return check_layer(model, probe.layer)


def chosen_units(probe: Probe, strongest: TopActivations, layer: str) -> Tensor:
    """Return the chosen units, checked, or those with the largest activations: int64 [U]."""
    if probe.units is None:
        return strongest.leading_units(min(probe.num_units, MOST_UNITS)).sort().values
    units = check_units(probe.units, len(strongest.values), layer)[:MOST_UNITS]
    return torch.tensor(units, device=strongest.values.device)


def project_top_activations(
    model: Network, probe: Probe, layer: str, strongest: TopActivations, units: Tensor
) -> tuple[Tensor, Tensor]:
    """Project the top activations of the units: projections and patches in 0..1, [U,T,C,F,F].

    Runs probe.batch_size entries at a time and keeps tiles of at most TILE_PIXELS per side, so that
    the memory does not depend on the size of the set.
    """
    image_set = needed_set(probe.image_set, "this picture", "image")
    field, shape = field_of(model, layer), strongest.indices[units].shape
    indices, positions = strongest.indices[units].flatten(), strongest.positions[units].flatten()
    of_unit = units.repeat_interleave(shape[1])

    projections, patches = [], []
    for part in in_parts(len(indices), probe.batch_size):
        images = image_set.read(indices[part].cpu())
        pixels = probe.normalize(images)
        at = positions[part]
        signal = project(model, pixels, layer, of_unit[part], probe.signal, at)

        top_left = corners(field, at, strongest.map_width)
        projections.append(_tiles(grid.signed_to_gray(signal), field, top_left))
        patches.append(_tiles(grid.pixels_to_unit(images), field, top_left))
    return torch.cat(projections).unflatten(0, shape), torch.cat(patches).unflatten(0, shape)


def _tiles(pictures: Tensor, field: ReceptiveField, top_left: Tensor) -> Tensor:
    return grid.shrink(cut(pictures, field, top_left, grid.GRAY), TILE_PIXELS)


def never_firing(model: Network, layer: str, strongest: TopActivations) -> set[int]:
    """Return the units that a rectifier keeps at zero for every image; empty without one.

    Asked of a layer whose values a rectifier reads, or has made, with nothing but pooling between.
    """
    largest = strongest.values[:, 0]
    if not rectified(model, layer):
        return set()
    return set((largest <= 0).nonzero()[:, 0].tolist())


def rectified(model: Network, layer: str) -> bool:
    """Return whether a value of this layer counts where it is above zero, and only there."""
    layers = layers_of(model)
    at = next(i for i, one in enumerate(layers) if one.name == layer)
    transparent = ("pool", "norm", "dropout", "flatten")
    after = next((one.role for one in layers[at + 1 :] if one.role not in transparent), "")
    before = next(
        (one.role for one in reversed(layers[: at + 1]) if one.role not in transparent), ""
    )
    return "rectifier" in (after, before)


def _pairs_page(
    title: str,
    units: Tensor,
    projections: Tensor,
    patches: Tensor,
    strongest: TopActivations,
    silent: set[int],
) -> "Figure":
    columns = min(4, len(units))
    rows = -(-len(units) // columns)
    figure = new_figure(3.3 * columns, 1.75 * rows + 0.6, title)
    axes = figure.subplots(rows, 2 * columns, squeeze=False).flatten()
    for one in axes:
        one.set_axis_off()

    side = grid.square_columns(projections.shape[1])
    for n, unit in enumerate(units.tolist()):
        left, right = axes[2 * n : 2 * n + 2]
        if unit in silent:
            for one, shown in ((left, projections[n]), (right, patches[n])):
                sheet = grid.tile(shown, side)
                show(one, torch.full_like(sheet, SILENT_GRAY))
                one.text(0.5, 0.5, "never fires", transform=one.transAxes, ha="center", fontsize=8)
            left.set_title(f"unit {unit}: never fires", fontsize=8, pad=2)
            continue
        peak = float(strongest.values[unit, 0])
        show(left, grid.tile(projections[n], side), f"unit {unit}: {peak:.2g}")
        show(right, grid.tile(patches[n], side))
    return figure


def _units_of_each(probe: Probe, peaks: Tensor, layer: str) -> Tensor:
    if probe.units is None:
        return peaks.argsort(1, descending=True)[:, : min(probe.num_units, MOST_COLUMNS)]
    units = check_units(probe.units, peaks.shape[1], layer)[:MOST_COLUMNS]
    return torch.tensor(units, device=peaks.device).expand(len(peaks), -1)


def _project_all(model: Network, pixels: Tensor, layer: str, units: Tensor, signal: str) -> Tensor:
    repeated = pixels.repeat_interleave(units.shape[1], dim=0)
    return project(model, repeated, layer, units.flatten(), signal).unflatten(0, units.shape)


def _title(probe: Probe, layer: str) -> str:
    return probe.title(f"layer {layer}", probe.signal)


def _image_title(probe: Probe, n: int) -> str:
    return "" if probe.labels is None else probe.class_name(int(probe.labels[n]))


def _box(axes: "Axes", field: ReceptiveField, top_left: Tensor, place: int) -> None:
    """Draw the field of the unit at this place of the order, with its color and number."""
    top, left = top_left.tolist()
    color = BOX_COLORS[place]
    outline(axes, top, left, field.size_pixels, color, 1.4)
    # fields may begin beyond the border, and several at one pixel
    number_in_corner(
        axes, max(top, 0), max(left, 0) + place * field.size_pixels / 4, place + 1, color
    )
