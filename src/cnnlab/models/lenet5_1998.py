"""LeNet-5 as published in 1998, with 60,000 trainable parameters."""

import torch
from torch import nn

from cnnlab.config.models import Lenet5Of1998Config
from cnnlab.errors import UsageError
from cnnlab.geometry import Window
from cnnlab.models.bitmaps import digit_bitmaps
from cnnlab.models.init import WeightRule, lecun, lecun_literal
from cnnlab.models.layers import Conv2d, Linear, WholeMapConv2d
from cnnlab.models.layers_1998 import (
    CONNECTIONS,
    RbfOutput,
    ScaledTanh,
    Subsample,
    TableConv2d,
)
from cnnlab.models.lenet5 import WINDOWS
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.sizes import check_sizes

F6_UNITS = 84
"""7x12, one per pixel of a bitmap."""


def lenet5_1998(config: Lenet5Of1998Config, task: Task, generator: torch.Generator) -> Network:
    """Build C1, S2, C3 (by the connection table), S4, C5, F6 and the output.

    The output is the paper's, distances to bitmaps (RBF), or, where the loss is the cross-entropy,
    a fully connected layer of softmax scores: one output for each class instead of 84 components,
    850 more trainable parameters for ten classes.

    Source: LeCun et al. 1998, section II.B. Departures: the bitmaps are cnnlab's own drawing; the
    scores are negated distances; other input sizes and channels work as in `lenet5`.
    Raises UsageError unless there are ten classes, one per bitmap, or softmax scores. Bitmaps are
    assigned by class number: on a data set of clothes, the target of class 3 is the drawing of a 3.
    """
    if config.has_distances and task.num_classes != len(digit_bitmaps()):
        raise UsageError(
            f"lenet5_1998 has ten bitmaps, one per class; the set has {task.num_classes} classes",
            hint="model.loss=cross_entropy or model=lenet5 takes any number of classes",
        )

    sizes = check_sizes("lenet5_1998", task.input_size_pixels, WINDOWS)
    layers = [
        Layer("c1", "conv", Conv2d(task.in_channels, 6, WINDOWS["c1"])),
        Layer("squash1", "squash", ScaledTanh()),
        Layer("s2", "subsample", Subsample(6)),
        Layer("squash2", "squash", ScaledTanh()),
        Layer("c3", "conv", TableConv2d(CONNECTIONS, WINDOWS["c3"])),
        Layer("squash3", "squash", ScaledTanh()),
        Layer("s4", "subsample", Subsample(16)),
        Layer("squash4", "squash", ScaledTanh()),
        Layer("c5", "conv", WholeMapConv2d(16, 120, Window(sizes["s4"]))),
        Layer("squash5", "squash", ScaledTanh()),
        Layer("flatten", "flatten", nn.Flatten()),
        Layer("f6", "fc", Linear(120, F6_UNITS)),
        Layer("squash6", "squash", ScaledTanh()),
        _output(config, task),
    ]

    network = Network(layers, task)
    _initialize(network, lecun if config.initialization == "sqrt" else lecun_literal, generator)
    return network


def _output(config: Lenet5Of1998Config, task: Task) -> Layer:
    if config.has_distances:
        return Layer("output", "rbf", RbfOutput())
    return Layer("output", "fc", Linear(F6_UNITS, task.num_classes))


@torch.no_grad()
def _initialize(network: Network, rule: WeightRule, generator: torch.Generator) -> None:
    """Draw each unit's weights uniformly within 2.4 / F or 2.4 / sqrt F, F its number of inputs.

    Source: LeCun et al. 1998, appendix A. The paper does not give initial biases; here they are 0.
    A subsampling unit has four inputs and one coefficient.
    """
    for layer in network.layers:
        module = layer.module
        if isinstance(module, TableConv2d):
            _draw_by_table(module, rule, generator)
        elif isinstance(module, Subsample):
            drawn = module.weight.new_empty(len(module.weight), 4)  # as wide as its fan-in
            rule(drawn, generator)
            module.weight.copy_(drawn[:, 0])
        elif isinstance(module, nn.Conv2d | nn.Linear):
            rule(module.weight, generator)

        if isinstance(getattr(module, "bias", None), nn.Parameter):
            module.bias.zero_()  # type: ignore[operator]


def _draw_by_table(module: TableConv2d, rule: WeightRule, generator: torch.Generator) -> None:
    """Draw the kernels map by map, as the fan-in of a map is 25 times the maps it sees."""
    first = 0
    for seen in module.connections:
        kernels = module.weight[first : first + len(seen)]
        rule(kernels[None], generator)  # [1, seen, K, K], a view
        first += len(seen)
