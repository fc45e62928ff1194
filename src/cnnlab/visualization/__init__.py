"""Looking inside a network: one table of pictures, each drawn from a model and a probe."""

from collections.abc import Callable

from torch import nn

from cnnlab.visualization.activations import draw_activations
from cnnlab.visualization.evolution import draw_evolution
from cnnlab.visualization.figures import Picture
from cnnlab.visualization.filters import draw_filter_evolution, draw_filters
from cnnlab.visualization.invariance import draw_equivariance, draw_invariance
from cnnlab.visualization.neighbours import draw_neighbours, draw_predictions
from cnnlab.visualization.occlusion import draw_occlusion
from cnnlab.visualization.probe import Probe
from cnnlab.visualization.projections import draw_projections, draw_top9

Draw = Callable[[nn.Module, Probe], list[Picture]]

PICTURES: dict[str, Draw] = {
    "filters": draw_filters,
    "activations": draw_activations,
    "deconvnet": draw_projections,
    "top9": draw_top9,
    "occlusion": draw_occlusion,
    "equivariance": draw_equivariance,
    "invariance": draw_invariance,
    "neighbors": draw_neighbours,
    "predictions": draw_predictions,
    "evolution": draw_evolution,
    "filter_evolution": draw_filter_evolution,
}
"""The verb, the training hook and the report go through this table."""
