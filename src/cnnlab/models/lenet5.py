"""LeNet-5 as it is built today: dense C3, pooling without weights, softmax scores."""

import torch
from torch import nn

from cnnlab.config.models import Lenet5Config
from cnnlab.geometry import Window
from cnnlab.models.init import initialize
from cnnlab.models.layers import (
    ACTIVATIONS,
    Conv2d,
    Linear,
    WholeMapConv2d,
    average_pool,
    max_pool,
)
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

WINDOWS = {
    "c1": Window(5),
    "s2": Window(2, stride=2),
    "c3": Window(5),
    "s4": Window(2, stride=2),
}


def lenet5(config: Lenet5Config, task: Task, generator: torch.Generator) -> Network:
    """Build C1 6@5x5, S2, C3 16@5x5, S4, C5 120, F6 84 and the scores.

    61,706 parameters on 1x32x32 with ten classes. C5 is a convolution over the whole map of S4.
    Source: LeCun et al. 1998, section II.B; departures: C3 sees all six maps of S2, S2 and S4 have
    no weights, the activation is not scaled, the scores are linear in F6.
    """
    sizes = check_sizes("lenet5", task.input_size_pixels, WINDOWS)
    maps, c5, f6 = (scaled(units, config.width) for units in (16, 120, 84))

    layers = _feature_layers(config, task.in_channels)
    layers += [
        Layer("c5", "conv", WholeMapConv2d(maps, c5, Window(sizes["s4"]))),
        _activation(config, 5),
        Layer("flatten", "flatten", nn.Flatten()),
        *_dropout(config, 5),
        Layer("f6", "fc", Linear(c5, f6)),
        _activation(config, 6),
        *_dropout(config, 6),
        Layer("output", "fc", Linear(f6, task.num_classes)),
    ]

    network = Network(layers, task)
    initialize(network, config.initialization, generator)
    return network


def _feature_layers(config: Lenet5Config, in_channels: int) -> list[Layer]:
    """Return C1 to S4.

    Activations are monotonic, so after max pooling they give the same values and gradients as
    before it, on a quarter of the units; with mean pooling they come before it, as in the paper.
    """
    pool = max_pool if config.pooling == "max" else average_pool
    layers = []
    first, second = scaled(6, config.width), scaled(16, config.width)

    for number, channels in ((1, (in_channels, first)), (3, (first, second))):
        convolution, pooling = f"c{number}", f"s{number + 1}"
        parts = [
            Layer(convolution, "conv", Conv2d(*channels, WINDOWS[convolution])),
            _activation(config, number),
            Layer(pooling, "pool", pool(WINDOWS[pooling])),
        ]
        layers += [parts[0], parts[2], parts[1]] if config.pooling == "max" else parts

    return layers


def _activation(config: Lenet5Config, number: int) -> Layer:
    role, module = ACTIVATIONS[config.activation]
    return Layer(f"{config.activation}{number}", role, module())


def _dropout(config: Lenet5Config, number: int) -> list[Layer]:
    if config.dropout == 0:
        return []
    return [Layer(f"dropout{number}", "dropout", nn.Dropout(config.dropout))]
