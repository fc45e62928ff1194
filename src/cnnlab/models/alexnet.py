"""AlexNet of 2012 on one device: one dense tower, or two towers as grouped convolutions."""

import torch
from torch import nn

from cnnlab.config.models import AlexnetConfig
from cnnlab.geometry import Window
from cnnlab.models.init import WeightRule, initialize_by_layer, kaiming, normal
from cnnlab.models.layers import (
    ACTIVATIONS,
    Conv2d,
    Linear,
    ScaledDropout,
    max_pool,
)
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import LocalResponseNorm, WithinMapNorm
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

CHANNELS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256}
HIDDEN_UNITS = 4096
PER_TOWER = 2
"""Counts stay even at every width, as each tower has half of them."""

TOWER_LAYERS = ("conv2", "conv4", "conv5")
"""Convolutions whose kernels see only their own tower's maps; conv3 and the rest see both."""

FIRST_WINDOWS = {
    "224_ceil": Window(11, stride=4, ceil=True),
    "227": Window(11, stride=4),
    "224_pad2": Window(11, stride=4, padding=2),
}
"""Three ways to get 55x55 maps; with the paper's 224 pixels, by rounding up as its source does."""

ONE_BIASES = ("conv2", "conv4", "conv5", "fc6", "fc7")
"""Layers whose biases are initialized to 1, so that their ReLUs see positive inputs at first."""


def alexnet(config: AlexnetConfig, task: Task, generator: torch.Generator) -> Network:
    """Build the 2012 layer table as one dense tower: 62,378,344 parameters at 1000 classes."""
    return _build(config, task, generator, towers=1)


def alexnet_two_tower(config: AlexnetConfig, task: Task, generator: torch.Generator) -> Network:
    """Build the 2012 network as published, on one device: 60,965,224 parameters.

    The two GPUs of the paper are two groups of channels in conv2, conv4 and conv5.
    """
    return _build(config, task, generator, towers=2)


def windows(config: AlexnetConfig) -> dict[str, Window]:
    """Return the windows in order: 55-27-13-13-13-6 for a 224-pixel image.

    Non-overlapping pooling is the author's own ablation: windows of 2, less padding in conv2 and
    conv3 and sizes rounded up, 55-28-26-13-11-11-11-6, so that fc6 still sees 6x6.
    """
    overlapping = config.pooling == "overlapping"
    pool = Window(3, stride=2) if overlapping else Window(2, stride=2, ceil=True)

    table = {
        "conv1": FIRST_WINDOWS[config.geometry],
        "pool1": pool,
        "conv2": Window(5, padding=2 if overlapping else 1),
        "pool2": pool,
        "conv3": Window(3, padding=1 if overlapping else 0),
        "conv4": Window(3, padding=1),
        "conv5": Window(3, padding=1),
        "pool5": pool,
    }

    return {name: window for name, window in table.items() if name not in config.without_layers}


def _build(config: AlexnetConfig, task: Task, generator: torch.Generator, towers: int) -> Network:
    sizes = check_sizes(config.name, task.input_size_pixels, windows(config))
    layers = _features(config, task.in_channels, towers)
    channels = [m.out_channels for layer in layers if isinstance(m := layer.module, Conv2d)][-1]
    layers += _classifier(config, channels * sizes["pool5"] ** 2, task.num_classes)
    network = Network(layers, task)
    initialize_alexnet(network, config.initialization, generator)
    return network


def _features(config: AlexnetConfig, in_channels: int, towers: int) -> list[Layer]:
    layers: list[Layer] = []
    table = windows(config)
    for number, (name, channels) in enumerate(CHANNELS.items(), start=1):
        channels = scaled(channels, config.width, PER_TOWER)
        steps = []

        if name in table:  # an ablation leaves some convolutions out
            groups = towers if name in TOWER_LAYERS else 1
            convolution = Conv2d(in_channels, channels, table[name], groups)
            steps += [Layer(name, "conv", convolution), _activation(config, number)]
            steps += _normalization(config, number, towers)
            in_channels = channels
        if f"pool{number}" in table:
            steps.append(Layer(f"pool{number}", "pool", max_pool(table[f"pool{number}"])))

        layers += _in_source_order(steps) if config.order == "source" else steps
    return layers


def _in_source_order(steps: list[Layer]) -> list[Layer]:
    """Return the layers of one stage in the 2012 source's order.

    conv1 -> norm -> pool -> ReLU; conv2 as in the paper; conv5 -> pool -> ReLU (the same values as
    the paper's order).
    """
    if steps and steps[0].name in ("conv1", "conv5"):
        return [steps[0], *steps[2:], steps[1]]
    return steps


def _activation(config: AlexnetConfig, number: int) -> Layer:
    role, module = ACTIVATIONS[config.activation]
    return Layer(f"{config.activation}{number}", role, module())


def _normalization(config: AlexnetConfig, number: int, towers: int) -> list[Layer]:
    if number > 2 or config.normalization == "none":
        return []
    alpha = 1e-4 if config.normalization == "paper" else 1e-4 / 5
    across = LocalResponseNorm(5, alpha, groups=towers)
    layers = [Layer(f"norm{number}", "norm", across)]
    if number == 2 and config.order == "source":
        layers.append(Layer("map_norm2", "norm", WithinMapNorm(5, 1e-3 / 25)))
    return layers


def _classifier(config: AlexnetConfig, features: int, num_classes: int) -> list[Layer]:
    layers = [Layer("flatten", "flatten", nn.Flatten())]
    units = scaled(HIDDEN_UNITS, config.width, PER_TOWER)
    if config.head == "single":
        layers += _dropout(config, 8)

    for number in (6, 7):
        if config.head == "single" or f"fc{number}" in config.without_layers:
            continue

        dropout = _dropout(config, number)
        layers += dropout if config.dropout_place == "before" else []
        layers.append(Layer(f"fc{number}", "fc", Linear(features, units)))
        layers.append(_activation(config, number))
        layers += dropout if config.dropout_place == "after" else []
        features = units

    return [*layers, Layer("fc8", "fc", Linear(features, num_classes))]


def _dropout(config: AlexnetConfig, number: int) -> list[Layer]:
    if config.dropout == 0:
        return []
    at_test = config.dropout_scaling == "test"
    module = ScaledDropout(config.dropout) if at_test else nn.Dropout(config.dropout)
    return [Layer(f"dropout{number}", "dropout", module)]


def initialize_alexnet(network: Network, initialization: str, generator: torch.Generator) -> None:
    """Initialize weights and biases by the scheme called `initialization`.

    paper: N(0, 0.01^2), ones in the biases of conv2, conv4, conv5, fc6, fc7. source: 0.03 in conv3
    to conv5. caffe: 0.1 for those ones, 0.005 in fc6 and fc7. kaiming: He normal, biases 0, and
    N(0, 0.01^2) in the last layer, as in `initialize`.
    Source: Krizhevsky et al. 2012, section 5; the layer definitions of the 2012 source; BVLC Caffe.
    """
    one = {"paper": 1.0, "source": 1.0, "caffe": 0.1, "kaiming": 0.0}[initialization]
    initialize_by_layer(
        network,
        lambda name: _weight_rule(initialization, name),
        lambda name: one if name in ONE_BIASES else 0.0,
        generator,
    )


def _weight_rule(initialization: str, name: str) -> WeightRule:
    if initialization == "kaiming":
        return normal(0.01) if name == "fc8" else kaiming
    if initialization == "source" and name in ("conv3", "conv4", "conv5"):
        return normal(0.03)
    if initialization == "caffe" and name in ("fc6", "fc7"):
        return normal(0.005)
    return normal(0.01)
