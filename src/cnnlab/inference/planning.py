"""What the lecture's drawings show of a network: its layers as plain values, without weights."""

from collections.abc import Callable
from functools import partial

from cnnlab import models
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.models import Network
from cnnlab.models.layers import window_of
from cnnlab.models.meta import without_weights
from cnnlab.models.summary import summarize_unbuilt
from cnnlab.visualization.network_plan import Block, Plan


def plan_of_model(config: ModelConfig) -> Plan:
    """Return the plan of a model with the sizes for which it was published."""
    channels, size, classes = MODELS[config.name].usual_input
    build = partial(
        models.build,
        models.on_one_device(config),
        in_channels=channels,
        input_size_pixels=size,
        num_classes=classes,
        seed=0,
    )
    return plan_of(build, config.name)


def plan_of(build: Callable[[], Network], model: str) -> Plan:
    """Return the plan of the network that `build` makes; weights are not drawn where possible."""
    summary = summarize_unbuilt(build, model)
    layers = without_weights(build).plan.layers
    windows = {layer.name: window_of(layer.module) for layer in layers}
    blocks = [
        Block(
            row.name,
            row.role,
            row.output_size,
            row.num_parameters,
            row.num_multiply_adds,
            row.receptive_field_pixels,
            windows[row.name],
        )
        for row in summary.rows
    ]
    return Plan(model, summary.input_size, blocks)
