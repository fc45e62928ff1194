"""The network of Zeiler and Fergus (2014): AlexNet with a finer first layer, in one tower."""

import torch
from torch import nn

from cnnlab.config.alexnets import ZfnetConfig
from cnnlab.geometry import Window
from cnnlab.models.batch_norm import batch_norm
from cnnlab.models.init import initialize, initialize_by_layer, normal
from cnnlab.models.layers import Conv2d, Linear, ScaledDropout, max_pool
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import alexnet_norm
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

CHANNELS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256}
HIDDEN_UNITS = 4096

_POOL = Window(3, stride=2, ceil=True)
WINDOWS = {
    "conv1": Window(7, stride=2, ceil=True),
    "pool1": _POOL,
    "conv2": Window(5, stride=2),
    "pool2": _POOL,
    **{name: Window(3, padding=1) for name in ("conv3", "conv4", "conv5")},
    "pool5": _POOL,
}
"""224-110-55-26-13-13-13-13-6, the sizes of the paper's figure 3.

The paper prints no padding; none, with sizes rounded up as in cuda-convnet, gives all of them.
"""


def zfnet(config: ZfnetConfig, task: Task, generator: torch.Generator) -> Network:
    """Build the paper's network: 62,357,608 parameters on 3x224x224 with 1000 classes.

    Against AlexNet: 7x7 filters of stride 2 in conv1, 5x5 of stride 2 in conv2, no groups, and
    normalization after pooling. Source: Zeiler & Fergus, ECCV 2014, figure 3 and section 3.
    Departure: the constants of the normalization, which the paper does not print, are AlexNet's.
    """
    sizes = check_sizes(config.name, task.input_size_pixels, WINDOWS)

    units = scaled(HIDDEN_UNITS, config.width)
    features = scaled(CHANNELS["conv5"], config.width) * sizes["pool5"] ** 2
    layers = [
        *_features(config, task.in_channels),
        Layer("flatten", "flatten", nn.Flatten()),
        *_hidden(config, 6, features, units),
        *_hidden(config, 7, units, units),
        Layer("fc8", "fc", Linear(units, task.num_classes)),
    ]
    network = Network(layers, task)

    if config.initialization == "paper":
        # "weights are initialized to 1e-2": as a deviation, since equal weights would stay equal
        initialize_by_layer(network, lambda name: normal(0.01), lambda name: 0.0, generator)
    else:
        initialize(network, config.initialization, generator)
    return network


def _features(config: ZfnetConfig, in_channels: int) -> list[Layer]:
    layers = []
    for number, (name, channels) in enumerate(CHANNELS.items(), start=1):
        channels = scaled(channels, config.width)

        layers.append(Layer(name, "conv", Conv2d(in_channels, channels, WINDOWS[name])))
        if config.normalization == "batch":
            layers.append(batch_norm(str(number), channels))
        layers.append(Layer(f"relu{number}", "rectifier", nn.ReLU()))
        if f"pool{number}" in WINDOWS:
            layers.append(Layer(f"pool{number}", "pool", max_pool(WINDOWS[f"pool{number}"])))
        if number <= 2 and config.normalization in ("paper", "source"):
            layers.append(Layer(f"norm{number}", "norm", alexnet_norm(config.normalization)))

        in_channels = channels
    return layers


def _hidden(config: ZfnetConfig, number: int, inputs: int, units: int) -> list[Layer]:
    layers = [
        Layer(f"fc{number}", "fc", Linear(inputs, units)),
        Layer(f"relu{number}", "rectifier", nn.ReLU()),
    ]
    if config.dropout > 0:
        layers.append(Layer(f"dropout{number}", "dropout", ScaledDropout(config.dropout)))
    return layers
