"""What an image does in the network: the maps of every layer, strongest first."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnlab.visualization import grid
from cnnlab.visualization.figures import (
    ORANGE,
    Picture,
    frame,
    new_figure,
    show,
    show_labelled,
)
from cnnlab.visualization.patches import covers_image, field_of
from cnnlab.visualization.probe import Probe, evaluating
from cnnlab.visualization.walk import check_layer, check_units, each_layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_MAPS, MOST_LAYERS = 4, 8, 24
STRIP_COLUMNS = 64
LARGEST_MAP = 96


def draw_activations(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw a page an image, at most four: a row a layer, or the asked-for layer alone.

    The box on the image is the receptive field of the strongest position of the first map.
    """
    if probe.layer is not None:
        check_layer(model, probe.layer)
    pages = []
    for n in range(min(len(probe.images), MOST_IMAGES)):
        rows = _rows(model, probe, probe.normalize(probe.images[n : n + 1]))
        pages.append(_page(model, probe, n, rows))
    return pages


@torch.no_grad()
def _rows(model: nn.Module, probe: Probe, pixels: Tensor) -> list[tuple[str, Tensor]]:
    """Return (layer name, its maps [K,H,W] or units [K]) of one image; layouts are left out."""
    with evaluating(model):
        rows = [
            (layer.name, maps[0].float().cpu())
            for layer, maps in each_layer(model, pixels)
            if layer.role not in ("flatten", "dropout") or layer.name == probe.layer
        ]
    if probe.layer is not None:
        rows = [row for row in rows if row[0] == probe.layer]
    return rows[:MOST_LAYERS]


def _page(model: nn.Module, probe: Probe, n: int, rows: list[tuple[str, Tensor]]) -> Picture:
    label = "" if probe.labels is None else probe.class_name(int(probe.labels[n]))
    title = probe.title(f"image {n + 1}: {label}" if label else f"image {n + 1}")
    heights = [1.2 if _has_places(maps) else 0.55 for _, maps in rows]
    figure = new_figure(1.05 * (MOST_MAPS + 2), sum(heights) + 0.6, title)
    axes = figure.subplots(
        len(rows), 3, squeeze=False, width_ratios=[1, 1, MOST_MAPS], height_ratios=heights
    )
    for (margin, image, sheet), (name, maps) in zip(axes, rows, strict=True):
        for one in (margin, image, sheet):
            one.set_axis_off()
        _label(margin, name, maps)
        if _has_places(maps):
            _draw_maps(sheet, probe, name, maps)
            show(image, grid.pixels_to_unit(probe.images[n]))
            _draw_field(image, probe, field_of(model, name), _strongest_place(probe, name, maps))
        else:
            _draw_strip(sheet, probe, name, maps.flatten())
    caption = (
        "A row is a layer: the image with the receptive field of the first map's strongest "
        f"position, then its {MOST_MAPS} strongest maps, each stretched from its smallest value "
        "(black) to its largest (white); the number is the largest value. Layers without maps "
        f"show their units as a strip, {STRIP_COLUMNS} a line."
    )
    return Picture(f"activations_{n + 1}", title, caption, figure)


def _has_places(maps: Tensor) -> bool:
    return maps.dim() == 3 and maps.shape[-1] > 1


def _label(axes: "Axes", name: str, maps: Tensor) -> None:
    size = "×".join(str(side) for side in maps.shape)
    axes.text(0.98, 0.5, f"{name}\n{size}", ha="right", va="center", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _draw_maps(axes: "Axes", probe: Probe, name: str, maps: Tensor) -> None:
    peaks = maps.flatten(1).amax(1)
    order = _order(probe, peaks, name)
    tiles = grid.shrink(grid.positive_to_grey(maps[order])[:, None], LARGEST_MAP)
    show_labelled(axes, tiles, [f"{n}: {peaks[n]:.2g}" for n in order.tolist()], MOST_MAPS)


def _strongest_place(probe: Probe, name: str, maps: Tensor) -> tuple[int, int]:
    """Return row and column of the first drawn map's largest value."""
    first = maps[_order(probe, maps.flatten(1).amax(1), name)[0]]
    row, column = divmod(int(first.argmax()), maps.shape[-1])
    return row, column


def _draw_field(axes: "Axes", probe: Probe, field: Any, place: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    side = field.size_pixels
    if covers_image(field, probe.images.shape[-1]):
        return
    top, left = (field.start_pixels + one * field.jump_pixels for one in place)
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=ORANGE, lw=1.5)
    )


def _draw_strip(axes: "Axes", probe: Probe, name: str, units: Tensor) -> None:
    strip = grid.positive_to_grey(units[None])[0][:, None, None, None]
    columns = min(STRIP_COLUMNS, len(units))
    order = _order(probe, units, name)[:4]
    strongest = ", ".join(f"{unit}: {units[unit]:.2g}" for unit in order.tolist())
    show(axes, grid.tile(strip, columns, gap_pixels=0)[0], f"strongest units {strongest}")
    frame(axes)


def _order(probe: Probe, peaks: Tensor, name: str) -> Tensor:
    if probe.units is not None and probe.layer is not None:
        units = check_units(probe.units, len(peaks), name)
        return torch.tensor(units)[:MOST_MAPS]
    return peaks.argsort(descending=True, stable=True)[:MOST_MAPS]
