"""The activation maps of every layer for one image, strongest first."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.geometry import ReceptiveField
from cnnlab.models.network import Network
from cnnlab.visualization import grid
from cnnlab.visualization.figures import (
    ORANGE,
    Picture,
    frame,
    new_figure,
    outline,
    show,
    show_labeled,
)
from cnnlab.visualization.layer_access import check_layer, check_units, each_layer
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.patches import covers_image, field_of
from cnnlab.visualization.probe import Probe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_MAPS, MOST_LAYERS = 4, 8, 24
STRIP_COLUMNS = 64
LARGEST_MAP = 96


def draw_activations(model: Network, probe: Probe) -> list[Picture]:
    """Draw one page per image, at most four: one row per layer, or the chosen layer alone.

    The box on the image is the receptive field of the first map's strongest position.
    """
    if probe.layer is not None:
        check_layer(model, probe.layer)
    pages = []
    for n in range(min(len(probe.images), MOST_IMAGES)):
        rows = _rows(model, probe, probe.normalize(probe.images[n : n + 1]))
        pages.append(_page(model, probe, n, rows))
    return pages


@torch.no_grad()
def _rows(model: Network, probe: Probe, pixels: Tensor) -> list[tuple[str, Tensor]]:
    """Return (layer name, its maps [K,H,W] or units [K]) of one image.

    Flatten and dropout repeat the layer before them and are drawn only as the chosen layer.
    """
    with eval_mode(model):
        rows = [
            (layer.name, maps[0].float().cpu())
            for layer, maps in each_layer(model, pixels)
            if layer.role not in ("flatten", "dropout") or layer.name == probe.layer
        ]
    if probe.layer is not None:
        rows = [row for row in rows if row[0] == probe.layer]
    return rows[:MOST_LAYERS]


def _page(model: Network, probe: Probe, n: int, rows: list[tuple[str, Tensor]]) -> Picture:
    label = "" if probe.labels is None else probe.class_name(int(probe.labels[n]))
    title = probe.title(f"image {n + 1}: {label}" if label else f"image {n + 1}")
    heights = [1.2 if _has_positions(maps) else 0.55 for _, maps in rows]
    figure = new_figure(1.05 * (MOST_MAPS + 2), sum(heights) + 0.6, title)
    axes = figure.subplots(
        len(rows), 3, squeeze=False, width_ratios=[1, 1, MOST_MAPS], height_ratios=heights
    )

    for (margin, image, sheet), (name, maps) in zip(axes, rows, strict=True):
        for one in (margin, image, sheet):
            one.set_axis_off()
        _label(margin, name, maps)
        if not _has_positions(maps):
            _draw_strip(sheet, probe, name, maps.flatten())
            continue

        _draw_maps(sheet, probe, name, maps)
        show(image, grid.pixels_to_unit(probe.images[n]))
        _draw_field(image, probe, field_of(model, name), _strongest_position(probe, name, maps))

    caption = (
        "One row per layer: the image with the receptive field of the first map's strongest "
        f"position, then the {MOST_MAPS} strongest maps, each scaled from its minimum (black) to "
        "its maximum (white); the number is the maximum. Layers without maps show their units as "
        f"a strip, {STRIP_COLUMNS} per line."
    )
    facts = {name: _strongest_units(probe, name, maps) for name, maps in rows}
    return Picture(f"activations_{n + 1}", title, caption, figure, facts)


def _strongest_units(probe: Probe, name: str, maps: Tensor) -> dict[str, list[Any]]:
    """Return the units that are drawn or named, with the largest activation of each."""
    peaks = maps.flatten(1).amax(1) if maps.dim() == 3 else maps
    units = _order(probe, peaks, name)
    return {"units": units.tolist(), "activations": plain(peaks[units])}


def _has_positions(maps: Tensor) -> bool:
    return maps.dim() == 3 and maps.shape[-1] > 1


def _label(axes: "Axes", name: str, maps: Tensor) -> None:
    size = "×".join(str(side) for side in maps.shape)
    axes.text(0.98, 0.5, f"{name}\n{size}", ha="right", va="center", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _draw_maps(axes: "Axes", probe: Probe, name: str, maps: Tensor) -> None:
    peaks = maps.flatten(1).amax(1)
    order = _order(probe, peaks, name)
    tiles = grid.shrink(grid.positive_to_gray(maps[order])[:, None], LARGEST_MAP)
    show_labeled(axes, tiles, [f"{n}: {peaks[n]:.2g}" for n in order.tolist()], MOST_MAPS)


def _strongest_position(probe: Probe, name: str, maps: Tensor) -> tuple[int, int]:
    """Return row and column of the maximum of the first map that is drawn."""
    first = maps[_order(probe, maps.flatten(1).amax(1), name)[0]]
    row, column = divmod(int(first.argmax()), maps.shape[-1])
    return row, column


def _draw_field(
    axes: "Axes", probe: Probe, field: ReceptiveField, position: tuple[int, int]
) -> None:
    if covers_image(field, probe.size_pixels):
        return
    top, left = (field.start_pixels + one * field.jump_pixels for one in position)
    outline(axes, top, left, field.size_pixels, ORANGE, 1.5)


def _draw_strip(axes: "Axes", probe: Probe, name: str, units: Tensor) -> None:
    strip = grid.positive_to_gray(units[None])[0][:, None, None, None]
    columns = min(STRIP_COLUMNS, len(units))
    order = _order(probe, units, name)[:4]
    strongest = ", ".join(f"{unit}: {units[unit]:.2g}" for unit in order.tolist())
    show(axes, grid.tile(strip, columns, gap_pixels=0)[0], f"strongest units {strongest}")
    frame(axes)


def _order(probe: Probe, peaks: Tensor, name: str) -> Tensor:
    """Return the units to draw, int64: the chosen ones, or those with the largest peaks [K]."""
    if probe.units is not None and probe.layer is not None:
        units = check_units(probe.units, len(peaks), name)
        return torch.tensor(units)[:MOST_MAPS]
    return peaks.argsort(descending=True, stable=True)[:MOST_MAPS]
