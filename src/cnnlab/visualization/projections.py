"""Pictures of what units respond to: single images, and the nine strongest of a data set."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnlab.visualization import grid
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.figures import ORANGE, Picture, new_figure, show, show_labelled
from cnnlab.visualization.patches import (
    corners,
    covers_image,
    cut,
    deepest_local_layer,
    field_of,
)
from cnnlab.visualization.probe import Probe, evaluating, in_parts, needed_set
from cnnlab.visualization.strongest import Strongest, find_strongest
from cnnlab.visualization.walk import check_layer, check_units, maps_at, places_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILE_PIXELS = 72
MOST_ROWS, MOST_COLUMNS = 8, 9
MOST_UNITS = 32
MOST_BOXES = 3


def draw_projections(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw each image with what its strongest units of a layer saw, strongest first.

    At most 8 images and 9 units. The receptive field of each unit is cut out of its projection.
    """
    images = probe.images[:MOST_ROWS]
    layer = chosen_layer(model, probe)
    pixels = probe.normalize(images)
    with torch.no_grad(), evaluating(model):
        peaks, places, width = _peaks(maps_at(model, pixels, layer))
    units = _units_of_each(probe, peaks, layer)  # [N,U]
    projected = _project_all(model, pixels, layer, units, probe.signal)  # [N,U,C,S,S]
    positions = places.gather(1, units)
    count = units.shape[1]
    figure = new_figure(1.2 * (count + 1), 1.35 * len(images) + 0.6, _title(probe, layer))
    axes = figure.subplots(len(images), 2, squeeze=False, width_ratios=[1, count])
    field = field_of(model, layer)
    for n, (left, right) in enumerate(axes):
        show(left, grid.pixels_to_unit(images[n]), _image_title(probe, n))
        top_left = corners(field, positions[n], width)
        tiles = _tiles(grid.signed_to_grey(projected[n]), field, top_left)
        labels = [f"unit {unit}: {peaks[n, unit]:.2g}" for unit in units[n].tolist()]
        show_labelled(right, tiles, labels, count)
        if not covers_image(field, images.shape[-1]):
            for u in range(min(MOST_BOXES, count)):
                _box(left, field, top_left[u], u == 0)
    caption = (
        f"Left: the image. Then its {count} units of {layer}, each projected to the "
        f"pixels ({probe.signal}) and cut to its receptive field of {field.size_pixels} pixels; "
        "grey is zero, the number is the activation. Boxes: the first three fields, one thick."
    )
    return [Picture("deconvnet", _title(probe, layer), caption, figure)]


def draw_top9(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw the nine strongest images of each unit: projections beside the patches they came from.

    The set is streamed once, whatever its size. Source: Zeiler & Fergus 2014, figure 2.
    """
    image_set = needed_set(probe.image_set, "top9", "image")
    layer = chosen_layer(model, probe)
    strongest = find_strongest(model, image_set.batches(), probe.normalize, layer)
    units = chosen_units(probe, strongest, layer)
    projections, patches = project_strongest(model, probe, layer, strongest, units)
    title = probe.title(f"layer {layer}", "strongest images", probe.signal)
    figure = _pairs_page(title, units, projections, patches, strongest)
    field = field_of(model, layer)
    caption = (
        f"For each unit of {layer} the {strongest.values.shape[1]} images of "
        f"{image_set.num_images} that excite it most: left projected to the pixels "
        f"({probe.signal}; grey is zero), right the patches themselves, cut by the receptive field "
        f"of {min(field.size_pixels, probe.images.shape[-1])} pixels."
    )
    facts = {
        "layer": layer,
        "units": units.tolist(),
        "indices": strongest.indices[units].tolist(),
        "activations": strongest.values[units].tolist(),
    }
    return [Picture("top9", title, caption, figure, facts)]


def chosen_layer(model: nn.Module, probe: Probe) -> str:
    """Return the asked-for layer, checked, or the deepest one whose units see parts."""
    if probe.layer is None:
        return deepest_local_layer(model, probe.images.shape[-1])
    return check_layer(model, probe.layer)


def chosen_units(probe: Probe, strongest: Strongest, layer: str) -> Tensor:
    """Return the asked-for units, checked, or those with the strongest activations; int64 [U]."""
    if probe.units is None:
        return strongest.leading_units(min(probe.num_units, MOST_UNITS)).sort().values
    units = check_units(probe.units, len(strongest.values), layer)[:MOST_UNITS]
    return torch.tensor(units, device=strongest.values.device)


def project_strongest(
    model: nn.Module, probe: Probe, layer: str, strongest: Strongest, units: Tensor
) -> tuple[Tensor, Tensor]:
    """Project the strongest images of the units: projections and patches in 0..1, [U,T,C,F,F].

    One projection an entry, batch_size at a time, and each tile at most TILE_PIXELS a side, so the
    memory depends on the page, not on the set.
    """
    image_set = needed_set(probe.image_set, "this picture", "image")
    field, shape = field_of(model, layer), strongest.indices[units].shape
    indices, places = strongest.indices[units].flatten(), strongest.positions[units].flatten()
    of_unit = units.repeat_interleave(shape[1])
    projections, patches = [], []
    for part in in_parts(len(indices), probe.batch_size):
        images = image_set.read(indices[part].cpu())
        pixels = probe.normalize(images)
        at = places[part]
        signal = project(model, pixels, layer, of_unit[part], probe.signal, at)
        top_left = corners(field, at, strongest.map_width)
        projections.append(_tiles(grid.signed_to_grey(signal), field, top_left))
        patches.append(_tiles(grid.pixels_to_unit(images), field, top_left))
    return torch.cat(projections).unflatten(0, shape), torch.cat(patches).unflatten(0, shape)


def _tiles(pictures: Tensor, field: Any, top_left: Tensor) -> Tensor:
    return grid.shrink(cut(pictures, field, top_left, grid.GREY), TILE_PIXELS)


def _pairs_page(
    title: str, units: Tensor, projections: Tensor, patches: Tensor, strongest: Strongest
) -> Any:
    columns = min(4, len(units))
    rows = -(-len(units) // columns)
    figure = new_figure(3.3 * columns, 1.75 * rows + 0.6, title)
    axes = figure.subplots(rows, 2 * columns, squeeze=False).flatten()
    for one in axes:
        one.set_axis_off()
    side = grid.square_columns(projections.shape[1])
    for n, unit in enumerate(units.tolist()):
        peak = float(strongest.values[unit, 0])
        show(axes[2 * n], grid.tile(projections[n], side), f"unit {unit}: {peak:.2g}")
        show(axes[2 * n + 1], grid.tile(patches[n], side))
    return figure


def _peaks(maps: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return each unit's largest value and its position, [N,K] each, and the map width."""
    peaks, places = places_of(maps).max(2)
    return peaks, places, maps.shape[-1] if maps.dim() == 4 else 1


def _units_of_each(probe: Probe, peaks: Tensor, layer: str) -> Tensor:
    if probe.units is None:
        return peaks.argsort(1, descending=True)[:, : min(probe.num_units, MOST_COLUMNS)]
    units = check_units(probe.units, peaks.shape[1], layer)[:MOST_COLUMNS]
    return torch.tensor(units, device=peaks.device).expand(len(peaks), -1)


def _project_all(
    model: nn.Module, pixels: Tensor, layer: str, units: Tensor, signal: str
) -> Tensor:
    repeated = pixels.repeat_interleave(units.shape[1], dim=0)
    return project(model, repeated, layer, units.flatten(), signal).unflatten(0, units.shape)


def _title(probe: Probe, layer: str) -> str:
    return probe.title(f"layer {layer}", probe.signal)


def _image_title(probe: Probe, n: int) -> str:
    return "" if probe.labels is None else probe.class_name(int(probe.labels[n]))


def _box(axes: "Axes", field: Any, top_left: Tensor, first: bool) -> None:
    from matplotlib.patches import Rectangle

    top, left = top_left.tolist()
    side, width = field.size_pixels, 1.8 if first else 0.6
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=ORANGE, lw=width)
    )
