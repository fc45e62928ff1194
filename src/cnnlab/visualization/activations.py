"""What an image does in the network: the maps of every layer, strongest first."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnlab.visualization import grid
from cnnlab.visualization.figures import ORANGE, Picture, new_figure, show
from cnnlab.visualization.patches import corners, covers_image, field_of
from cnnlab.visualization.probe import Probe, evaluating
from cnnlab.visualization.walk import check_layer, check_units, each_layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES, MOST_MAPS, MOST_LAYERS = 4, 8, 24
STRIP_COLUMNS = 64


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
    figure = new_figure(1.05 * (MOST_MAPS + 2), 1.2 * len(rows) + 0.6, title)
    axes = figure.subplots(len(rows), MOST_MAPS + 2, squeeze=False)
    for row, (name, maps) in zip(axes, rows, strict=True):
        for one in row:
            one.set_axis_off()
        _label(row[0], name, maps)
        if maps.dim() == 3 and maps.shape[-1] > 1:
            field = field_of(model, name)
            _draw_maps(row[1:], probe, n, name, maps, field)
        else:
            _draw_strip(row[1:], probe, n, name, maps.flatten())
    caption = (
        "A row is a layer: the image with the receptive field of the first map's strongest "
        f"position, then its {MOST_MAPS} strongest maps, each stretched from its smallest value "
        "(black) to its largest (white); the number is the largest value. Layers without maps "
        f"show their units as a strip, {STRIP_COLUMNS} a line."
    )
    return Picture(f"activations_{n + 1}", title, caption, figure)


def _label(axes: "Axes", name: str, maps: Tensor) -> None:
    size = "×".join(str(side) for side in maps.shape)
    axes.text(0.98, 0.5, f"{name}\n{size}", ha="right", va="center", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _draw_maps(row: Any, probe: Probe, n: int, name: str, maps: Tensor, field: Any) -> None:
    from matplotlib.patches import Rectangle

    peaks, places = maps.flatten(1).max(1)
    order = _order(probe, peaks, name)
    show(row[0], grid.pixels_to_unit(probe.images[n]))
    if not covers_image(field, probe.images.shape[-1]):
        top, left = corners(field, places[order[:1]], maps.shape[-1])[0].tolist()
        side = field.size_pixels
        row[0].add_patch(
            Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=ORANGE, lw=1.5)
        )
    tiles = grid.positive_to_grey(maps[order])
    for one, unit, tile in zip(row[1:], order.tolist(), tiles, strict=False):
        show(one, tile, f"{unit}: {peaks[unit]:.2g}")


def _draw_strip(row: Any, probe: Probe, n: int, name: str, units: Tensor) -> None:
    show(row[0], grid.pixels_to_unit(probe.images[n]))
    strip = grid.positive_to_grey(units[None])[0][:, None, None, None]
    columns = min(STRIP_COLUMNS, len(units))
    sheet = grid.tile(strip, columns, gap_pixels=0)[0]
    axes = row[1].get_gridspec()
    number = row[1].get_subplotspec().rowspan.start
    wide = row[1].figure.add_subplot(axes[number, 2:])
    order = _order(probe, units, name)[:4]
    strongest = ", ".join(f"{unit}: {units[unit]:.2g}" for unit in order.tolist())
    show(wide, sheet, f"strongest units {strongest}")


def _order(probe: Probe, peaks: Tensor, name: str) -> Tensor:
    if probe.units is not None and probe.layer is not None:
        units = check_units(probe.units, len(peaks), name)
        return torch.tensor(units)[:MOST_MAPS]
    return peaks.argsort(descending=True, stable=True)[:MOST_MAPS]
