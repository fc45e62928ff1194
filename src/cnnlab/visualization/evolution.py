"""How features form: a layer's strongest projections at every saved checkpoint."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.visualization import grid
from cnnlab.visualization.figures import Picture, new_figure, set_gaps, show
from cnnlab.visualization.filters import MOST_MOMENTS, evenly
from cnnlab.visualization.probe import Probe, needed_set
from cnnlab.visualization.projections import chosen_layer, chosen_units, project_strongest
from cnnlab.visualization.strongest import find_strongest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_UNITS = 8


def draw_evolution(model: nn.Module, probe: Probe) -> list[Picture]:
    """Draw, for units of a layer, the strongest projection and its patch at each checkpoint.

    The units are chosen by the network itself, the last in time; the set is streamed once a
    checkpoint. At most eight units and eight checkpoints. Source: Zeiler & Fergus 2014, figure 4.
    """
    if probe.checkpoints is None:
        raise UsageError("evolution needs the checkpoints of a run folder")
    image_set = needed_set(probe.image_set, "evolution", "image")
    layer = chosen_layer(model, probe)
    strongest = find_strongest(model, image_set.batches(), probe.normalize, layer, count=1)
    few = replace(probe, num_units=min(probe.num_units, MOST_UNITS))
    units = chosen_units(few, strongest, layer)[:MOST_UNITS]
    moments = []
    names = evenly([name for name, _ in probe.checkpoints()], MOST_MOMENTS)
    for name, saved in probe.checkpoints():
        if name in names:
            moments.append((name, *_at_moment(saved, probe, layer, units)))
    return [_picture(probe, layer, units, moments)]


def _at_moment(model: nn.Module, probe: Probe, layer: str, units: Tensor) -> tuple[Tensor, Tensor]:
    image_set = needed_set(probe.image_set, "evolution", "image")
    strongest = find_strongest(model, image_set.batches(), probe.normalize, layer, count=1)
    return project_strongest(model, probe, layer, strongest, units)


def _picture(
    probe: Probe, layer: str, units: Tensor, moments: list[tuple[str, Tensor, Tensor]]
) -> Picture:
    title = probe.title(f"layer {layer}", probe.signal, "over training")
    figure = new_figure(2.3 * len(moments) + 1.0, 1.15 * len(units) + 0.8, title)
    set_gaps(figure, between_columns=0.06, between_rows=0.02)
    axes = figure.subplots(len(units), len(moments), squeeze=False)
    for column, (name, projections, patches) in enumerate(moments):
        for row, unit in enumerate(units.tolist()):
            pair = torch.cat([grid.to_rgb(projections[row]), grid.to_rgb(patches[row])])
            heading = name if row == 0 else ""
            show(axes[row, column], grid.tile(pair, 2, gap_pixels=1), heading)
            if column == 0:
                _unit_label(axes[row, column], unit)
    caption = (
        f"A row is a unit of {layer}, a column a checkpoint: the projection ({probe.signal}) of "
        "its strongest activation in the set at that moment, and the patch it came from. Jumps "
        "mean that another image became the strongest."
    )
    return Picture("evolution", title, caption, figure)


def _unit_label(axes: "Axes", unit: int) -> None:
    axes.text(
        -0.03, 0.5, f"unit {unit}", ha="right", va="center", fontsize=8, transform=axes.transAxes
    )
