"""How features develop: projections of a layer's top activations at every saved checkpoint."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.models.network import Network
from cnnlab.visualization import grid
from cnnlab.visualization.figures import Picture, new_figure, set_gaps, show
from cnnlab.visualization.filters import KEEPING, MOST_MOMENTS, evenly, missing_moments
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.probe import Probe, needed_set
from cnnlab.visualization.projections import chosen_layer, chosen_units, project_top_activations
from cnnlab.visualization.top_activations import TopActivations, find_top_activations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_UNITS = 8


def draw_evolution(model: Network, probe: Probe) -> list[Picture]:
    """Draw the projection and patch of each unit's top activation at each checkpoint.

    The units are those that are strongest in `model`. The set is streamed once per checkpoint. At
    most eight units and eight checkpoints. Source: Zeiler & Fergus 2014, figure 4.
    """
    if probe.checkpoints is None:
        raise UsageError("evolution needs the checkpoints of a run folder", hint=KEEPING)
    layer = chosen_layer(model, probe)
    few = replace(probe, num_units=min(probe.num_units, MOST_UNITS))
    units = chosen_units(few, _strongest(model, probe, layer), layer)[:MOST_UNITS]

    # read once for the names and once to draw, so that one network is in memory at a time
    moments, strongest = [], []
    names = evenly([name for name, _ in probe.checkpoints()], MOST_MOMENTS)
    for name, saved in probe.checkpoints():
        if name in names:
            top = _strongest(saved, probe, layer)
            moments.append((name, *project_top_activations(saved, probe, layer, top, units)))
            strongest.append((top.indices[units, 0].tolist(), plain(top.values[units, 0])))

    facts = {
        "layer": layer,
        "moments": [name for name, *_ in moments],
        "units": units.tolist(),
        "indices": [indices for indices, _ in strongest],
        "activations": [values for _, values in strongest],
    }
    return [_picture(probe, layer, moments, facts)]


def _strongest(model: Network, probe: Probe, layer: str) -> TopActivations:
    image_set = needed_set(probe.image_set, "evolution", "image")
    return find_top_activations(model, image_set.batches(), probe.normalize, layer, count=1)


def _picture(
    probe: Probe,
    layer: str,
    moments: list[tuple[str, Tensor, Tensor]],
    facts: dict[str, Any],
) -> Picture:
    units = facts["units"]
    title = probe.title(f"layer {layer}", probe.signal, "over training")
    figure = new_figure(2.3 * len(moments) + 1.0, 1.15 * len(units) + 0.8, title)
    set_gaps(figure, between_columns=0.06, between_rows=0.02)
    axes = figure.subplots(len(units), len(moments), squeeze=False)

    for column, (name, projections, patches) in enumerate(moments):
        for row, unit in enumerate(units):
            pair = torch.cat([grid.to_rgb(projections[row]), grid.to_rgb(patches[row])])
            heading = name if row == 0 else ""
            show(axes[row, column], grid.tile(pair, 2, gap_pixels=1), heading)
            if column == 0:
                _unit_label(axes[row, column], unit)

    caption = (
        f"One row per unit of {layer}, one column per checkpoint: the projection ({probe.signal}) "
        "of its top activation in the set at that checkpoint, and the patch it came from. Jumps "
        "mean that another image became the strongest."
    )
    return Picture("evolution", title, caption, figure, facts, missing_moments(len(moments)))


def _unit_label(axes: "Axes", unit: int) -> None:
    axes.text(
        -0.03, 0.5, f"unit {unit}", ha="right", va="center", fontsize=8, transform=axes.transAxes
    )
