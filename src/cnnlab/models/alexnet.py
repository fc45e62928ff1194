"""AlexNet of 2012 on one device: one dense tower, or two towers as grouped convolutions."""

from dataclasses import dataclass

import torch
from torch import nn

from cnnlab.config.alexnets import (
    AlexnetConfig,
    AlexnetOneTowerConfig,
    AlexnetTwoTowerConfig,
)
from cnnlab.geometry import Window
from cnnlab.models.batch_norm import batch_norm
from cnnlab.models.init import WeightRule, initialize_by_layer, kaiming, normal
from cnnlab.models.layers import (
    ACTIVATIONS,
    Conv2d,
    GroupedLinear,
    Linear,
    ScaledDropout,
    max_pool,
)
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import WithinMapNorm, alexnet_norm
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

CHANNELS = {"conv1": 96, "conv2": 256, "conv3": 384, "conv4": 384, "conv5": 256, "conv6": 256}
HIDDEN_UNITS = 4096
PER_TOWER = 2
"""Counts stay even at every width, as each tower has half of them."""

MIDDLE_LAYERS = ("conv3", "conv4", "conv5")
"""The first of these that is not left out is where the towers exchange their maps."""

FIRST_WINDOWS = {
    "224_ceil": Window(11, stride=4, ceil=True),
    "227": Window(11, stride=4),
    "224_pad2": Window(11, stride=4, padding=2),
}
"""Three ways to get 55x55 maps; with the paper's 224 pixels, by rounding up as its source does."""

ONE_BIASES = ("conv2", "conv4", "conv5", "conv6", "fc6", "fc7")
"""Layers whose biases are initialized to 1, so that their ReLUs see positive inputs at first."""


@dataclass(frozen=True)
class _Form:
    """Kernels of each convolution, units of fc6 and fc7, and the layers that see one tower each."""

    channels: dict[str, int]
    hidden_units: int
    towers: int = 1
    apart: frozenset[str] = frozenset()

    def groups(self, name: str) -> int:
        """Return into how many parts a layer and its inputs are divided."""
        return self.towers if name in self.apart else 1


def alexnet(config: AlexnetOneTowerConfig, task: Task, generator: torch.Generator) -> Network:
    """Build the 2012 layer table as one dense tower: 62,378,344 parameters at 1000 classes.

    half_kernels: the author's network for one GPU, 59,798,312 parameters, with which the paper
    compares the two towers; conv5 and the fully connected layers keep their size, so that the two
    have about the same number. Source: layer file 145-half of the 2012 source.
    """
    halved = {name: CHANNELS[name] // 2 for name in ("conv1", "conv2", "conv3", "conv4")}
    channels = CHANNELS | (halved if config.half_kernels else {})
    return _build(config, task, generator, _Form(channels, HIDDEN_UNITS))


def alexnet_two_tower(
    config: AlexnetTwoTowerConfig, task: Task, generator: torch.Generator
) -> Network:
    """Build the 2012 network as published, on one device: 60,965,224 parameters.

    The two GPUs of the paper are two groups of channels in conv2, conv4 and conv5; conv3 and the
    fully connected layers see both. exchange: `none` is the author's run without communication,
    81,591,720 parameters: 160 kernels per tower in conv2, 4096 units per tower in fc6 and fc7, and
    only the scores see both. Source: layer files 145 and 150 of the 2012 source.
    """
    apart = {"conv2", *MIDDLE_LAYERS, "conv6"}
    if config.exchange == "conv3":
        left = [name for name in MIDDLE_LAYERS if name not in config.without_layers]
        apart -= {*left[:1], "conv6"}

    channels, hidden_units = CHANNELS, HIDDEN_UNITS
    if config.exchange == "none":
        apart |= {"fc6", "fc7"}
        channels, hidden_units = CHANNELS | {"conv2": 320}, 2 * HIDDEN_UNITS
    return _build(config, task, generator, _Form(channels, hidden_units, 2, frozenset(apart)))


def windows(config: AlexnetConfig) -> dict[str, Window]:
    """Return the windows in order: 55-27-13-13-13-6 for a 224-pixel image.

    Non-overlapping pooling is the author's own ablation: windows of 2, less padding in conv2 and
    conv3 and sizes rounded up, 55-28-26-13-11-11-11-6, so that fc6 still sees 6x6. conv6 keeps the
    size of pool5.
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
    if config.conv6:
        table["conv6"] = Window(3, padding=1)

    return {name: window for name, window in table.items() if name not in config.without_layers}


def _build(config: AlexnetConfig, task: Task, generator: torch.Generator, form: _Form) -> Network:
    sizes = check_sizes(config.name, task.input_size_pixels, windows(config))
    layers = _features(config, task.in_channels, form)
    channels = [m.out_channels for layer in layers if isinstance(m := layer.module, Conv2d)][-1]
    layers += _classifier(config, channels * sizes["pool5"] ** 2, task.num_classes, form)
    network = Network(layers, task)
    initialize_alexnet(network, config.initialization, generator)
    return network


def _features(config: AlexnetConfig, in_channels: int, form: _Form) -> list[Layer]:
    layers: list[Layer] = []
    table = windows(config)
    for number, (name, channels) in enumerate(form.channels.items(), start=1):
        channels = scaled(channels, config.width, PER_TOWER)
        steps = []

        if name in table:  # conv6 seldom is; an ablation leaves others out
            convolution = Conv2d(in_channels, channels, table[name], form.groups(name))
            # fc6 has the name that conv6's activation would get
            suffix = "_conv6" if name == "conv6" else str(number)
            steps.append(Layer(name, "conv", convolution))
            if config.normalization == "batch":
                steps.append(batch_norm(suffix, channels))
            steps.append(_activation(config, suffix))
            steps += _response_norm(config, number, form.towers)
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


def _activation(config: AlexnetConfig, suffix: str) -> Layer:
    role, module = ACTIVATIONS[config.activation]
    return Layer(f"{config.activation}{suffix}", role, module())


def _response_norm(config: AlexnetConfig, number: int, towers: int) -> list[Layer]:
    if number > 2 or config.normalization in ("batch", "none"):
        return []
    across = alexnet_norm(config.normalization, groups=towers)
    layers = [Layer(f"norm{number}", "norm", across)]
    if number == 2 and config.order == "source":
        layers.append(Layer("map_norm2", "norm", WithinMapNorm(5, 1e-3 / 25)))
    return layers


def _classifier(config: AlexnetConfig, features: int, num_classes: int, form: _Form) -> list[Layer]:
    layers = [Layer("flatten", "flatten", nn.Flatten())]
    units = scaled(form.hidden_units, config.width, PER_TOWER)
    if config.head == "single":
        layers += _dropout(config, 8)

    for number in (6, 7):
        if config.head == "single" or f"fc{number}" in config.without_layers:
            continue

        dropout = _dropout(config, number)
        layers += dropout if config.dropout_place == "before" else []
        layers.append(_hidden_layer(f"fc{number}", features, units, form))
        layers.append(_activation(config, str(number)))
        layers += dropout if config.dropout_place == "after" else []
        features = units

    return [*layers, Layer("fc8", "fc", Linear(features, num_classes))]


def _hidden_layer(name: str, features: int, units: int, form: _Form) -> Layer:
    groups = form.groups(name)
    whole = groups == 1
    module = Linear(features, units) if whole else GroupedLinear(features, units, groups)
    return Layer(name, "fc", module)


def _dropout(config: AlexnetConfig, number: int) -> list[Layer]:
    if config.dropout == 0:
        return []
    at_test = config.dropout_scaling == "test"
    module = ScaledDropout(config.dropout) if at_test else nn.Dropout(config.dropout)
    return [Layer(f"dropout{number}", "dropout", module)]


def initialize_alexnet(network: Network, initialization: str, generator: torch.Generator) -> None:
    """Initialize weights and biases by the scheme called `initialization`.

    paper: N(0, 0.01^2), ones in the biases of conv2, conv4 to conv6, fc6, fc7. source: 0.03 in
    conv3 to conv6. caffe: 0.1 for those ones, 0.005 in fc6 and fc7. kaiming: He normal, biases 0,
    and N(0, 0.01^2) in the last layer, as in `initialize`.
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
    if initialization == "source" and name in (*MIDDLE_LAYERS, "conv6"):
        return normal(0.03)
    if initialization == "caffe" and name in ("fc6", "fc7"):
        return normal(0.005)
    return normal(0.01)
