"""AlexNet of 2014 ("one weird trick") in torchvision's layout, and one for small images."""

import torch
from torch import Tensor, nn

from cnnlab.config.alexnets import Alexnet2014Config, AlexnetCifarConfig
from cnnlab.geometry import Window
from cnnlab.models.alexnet import FIRST_WINDOWS, initialize_alexnet
from cnnlab.models.batch_norm import batch_norm
from cnnlab.models.init import initialize
from cnnlab.models.layers import ACTIVATIONS, Conv2d, Linear, max_pool
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import alexnet_norm
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

CHANNELS = {"conv1": 64, "conv2": 192, "conv3": 384, "conv4": 256, "conv5": 256}

TORCHVISION_NAMES = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "fc8": "classifier.6",
}
"""Where torchvision keeps each layer's weight and bias."""


def alexnet_2014(config: Alexnet2014Config, task: Task, generator: torch.Generator) -> Network:
    """Build the lecture's network: 61,100,840 parameters on 3x224x224 with 1000 classes.

    Source: Krizhevsky 2014 with the channels of its released code, 64-192-384-256-256 (the
    paper's footnote has 384 in conv4, which its own parameter count contradicts); layout and
    defaults of torchvision. Departure from torchvision: no adaptive pooling, so for other sizes
    than 224 fc6 has another number of inputs.
    """
    overlapping = Window(3, stride=2)
    windows = {
        "conv1": FIRST_WINDOWS[config.geometry],
        "pool1": overlapping,
        "conv2": Window(5, padding=2),
        "pool2": overlapping,
        **_THREE_CONVOLUTIONS,
        "pool5": overlapping,
    }
    return _build(config, task, generator, windows, hidden_units=4096)


def alexnet_cifar(config: AlexnetCifarConfig, task: Task, generator: torch.Generator) -> Network:
    """Build the same network for 32x32 images: a 3x3 stem, maps of 32-16-8, 1024 hidden units.

    7,703,370 parameters on 3x32x32 with ten classes. It is not published: it is the 2014
    network with a stem for small images, and pooling that rounds up as in the 2012 source.
    """
    pool = Window(3, stride=2, ceil=True)
    windows = {
        "conv1": Window(3, padding=1),
        "pool1": pool,
        "conv2": Window(5, padding=2),
        "pool2": pool,
        **_THREE_CONVOLUTIONS,
        "pool5": pool,
    }
    return _build(config, task, generator, windows, hidden_units=1024)


_THREE_CONVOLUTIONS = {name: Window(3, padding=1) for name in ("conv3", "conv4", "conv5")}


def _build(
    config: Alexnet2014Config | AlexnetCifarConfig,
    task: Task,
    generator: torch.Generator,
    windows: dict[str, Window],
    hidden_units: int,
) -> Network:
    sizes = check_sizes(config.name, task.input_size_pixels, windows)

    hidden_units = scaled(hidden_units, config.width)
    features = scaled(CHANNELS["conv5"], config.width) * sizes["pool5"] ** 2
    layers = [
        *_features(config, task.in_channels, windows),
        Layer("flatten", "flatten", nn.Flatten()),
        *_hidden(config, 6, features, hidden_units),
        *_hidden(config, 7, hidden_units, hidden_units),
        Layer("fc8", "fc", Linear(hidden_units, task.num_classes)),
    ]
    network = Network(layers, task)

    if config.initialization == "torch":
        initialize(network, "torch", generator)
    else:
        initialize_alexnet(network, config.initialization, generator)
    return network


def _features(
    config: Alexnet2014Config | AlexnetCifarConfig, in_channels: int, windows: dict[str, Window]
) -> list[Layer]:
    layers = []
    for number, (name, channels) in enumerate(CHANNELS.items(), start=1):
        channels = scaled(channels, config.width)

        layers.append(Layer(name, "conv", Conv2d(in_channels, channels, windows[name])))
        if config.normalization == "batch":
            layers.append(batch_norm(str(number), channels))
        layers.append(_activation(config, number))
        if number <= 2 and config.normalization in ("paper", "source"):
            layers.append(Layer(f"norm{number}", "norm", alexnet_norm(config.normalization)))
        if f"pool{number}" in windows:
            layers.append(Layer(f"pool{number}", "pool", max_pool(windows[f"pool{number}"])))

        in_channels = channels
    return layers


def _hidden(
    config: Alexnet2014Config | AlexnetCifarConfig, number: int, inputs: int, units: int
) -> list[Layer]:
    layers = [Layer(f"fc{number}", "fc", Linear(inputs, units)), _activation(config, number)]
    if config.dropout == 0:
        return layers
    dropout = Layer(f"dropout{number}", "dropout", nn.Dropout(config.dropout))
    return [dropout, *layers] if config.dropout_place == "before" else [*layers, dropout]


def _activation(config: Alexnet2014Config | AlexnetCifarConfig, number: int) -> Layer:
    role, module = ACTIVATIONS[config.activation]
    return Layer(f"{config.activation}{number}", role, module())


def from_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return torchvision's AlexNet state under our names. Raises KeyError for other names."""
    return {
        f"{ours}.{kind}": state[f"{theirs}.{kind}"]
        for ours, theirs in TORCHVISION_NAMES.items()
        for kind in ("weight", "bias")
    }


def to_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our alexnet_2014 state under torchvision's names."""
    return {
        f"{theirs}.{kind}": state[f"{ours}.{kind}"]
        for ours, theirs in TORCHVISION_NAMES.items()
        for kind in ("weight", "bias")
    }
