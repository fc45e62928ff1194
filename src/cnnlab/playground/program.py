"""A network as a program of plain operations, one per layer, and its weights as one run of numbers.

`interpreter.js` executes it in a browser. What it cannot compute is refused here, by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.models.batch_norm import BatchNorm2d
from cnnlab.models.cifar import LocallyConnected2d
from cnnlab.models.layers import (
    Conv2d,
    GroupedLinear,
    Linear,
    ScaledDropout,
    WholeMapConv2d,
    window_of,
)
from cnnlab.models.layers_1998 import (
    AMPLITUDE,
    SLOPE,
    RbfOutput,
    ScaledTanh,
    Subsample,
    TableConv2d,
)
from cnnlab.models.network import Layer, Network
from cnnlab.models.normalization import LocalResponseNorm, WithinMapNorm
from cnnlab.models.pooling import MaxPool2d
from cnnlab.models.summary import summarize

Written = tuple[dict[str, Any], dict[str, Tensor]]
"""The constants of an operation, and its weights by name."""


@dataclass(frozen=True)
class Program:
    """The operations of a network in order, as plain data, and float32 [n] with all weights.

    An operation has the layer's name and role, the `kind` of its arithmetic with its constants, its
    output's size [C,H,W] (units: [n,1,1]), and for each of its weights [first, length].
    """

    operations: list[dict[str, Any]]
    weights: Tensor

    @property
    def num_weights(self) -> int:
        """Return how many numbers the page has to hold for one checkpoint."""
        return len(self.weights)


def program_of(network: Network) -> Program:
    """Return the program of a network in eval mode.

    Raises UsageError for a layer that the page cannot compute, and for a network with a forward
    pass of its own.
    """
    if type(network).forward is not Network.forward:
        raise UsageError(
            f"the playground cannot compute {type(network).__name__}, which is not run layer by "
            "layer"
        )

    operations, runs, first = [], [torch.empty(0)], 0
    for layer, row in zip(network.layers, summarize(network).rows, strict=True):
        constants, weights = _written(layer)
        size = [*row.output_size, 1, 1][:3]
        operation = {"name": layer.name, "role": layer.role, "size": size, **constants}
        operation |= {
            "numbers": row.num_parameters,
            "field": row.receptive_field_pixels,
            "formulas": [row.size_formula, row.parameter_formula],
        }

        for name, values in weights.items():
            flat = values.detach().to("cpu", torch.float32).contiguous().flatten()
            operation[name] = [first, len(flat)]
            runs.append(flat)
            first += len(flat)
        operations.append(operation)

    return Program(operations, torch.cat(runs))


def _written(layer: Layer) -> Written:
    """Return a layer's constants and weights. Raises UsageError for an unknown kind."""
    module = layer.module
    write = _WRITERS.get(type(module))
    if write is None:
        raise UsageError(
            f"the playground cannot compute layer {layer.name}, a {type(module).__name__}",
            hint="the other pictures can be drawn: what=all",
        )
    return write(module)


def _window(module: nn.Module) -> dict[str, Any]:
    window = window_of(module)
    assert window is not None, "a layer with a window"
    return {
        "kernel": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "dilation": window.dilation,
    }


def _affine(module: Any) -> dict[str, Tensor]:
    """Return weight and bias; without a bias, zeros."""
    bias = module.bias if module.bias is not None else module.weight.new_zeros(len(module.weight))
    return {"weight": module.weight, "bias": bias}


def _conv(module: Any) -> Written:
    if module.padding_mode != "zeros":
        raise UsageError(f"the playground cannot compute padding_mode={module.padding_mode}")
    return {"kind": "conv", "groups": module.groups, **_window(module)}, _affine(module)


def _table_conv(module: TableConv2d) -> Written:
    constants = {"kind": "conv", "groups": 1, **_window(module)}
    connections = [list(seen) for seen in module.connections]
    weights = {"weight": module.dense(module.weight), "bias": module.bias}
    return constants | {"connections": connections}, weights


def _local(module: LocallyConnected2d) -> Written:
    return {"kind": "local", **_window(module)}, _affine(module)


def _max_pool(module: nn.MaxPool2d) -> Written:
    return {"kind": "max_pool", **_window(module)}, {}


def _average_pool(module: nn.AvgPool2d) -> Written:
    if module.divisor_override is not None:
        raise UsageError("the playground cannot compute an average with divisor_override")
    counts_padding = module.count_include_pad
    return {"kind": "average_pool", "counts_padding": counts_padding, **_window(module)}, {}


def _subsample(module: Subsample) -> Written:
    return {"kind": "subsample", **_window(module)}, _affine(module)


def _across_maps(module: LocalResponseNorm) -> Written:
    constants = {name: getattr(module, name) for name in ("alpha", "beta", "k", "groups")}
    return {"kind": "norm_across_maps", "reach": module.size // 2, **constants}, {}


def _within_map(module: WithinMapNorm) -> Written:
    constants = {name: getattr(module, name) for name in ("alpha", "beta", "k")}
    return {"kind": "norm_within_map", **constants, **_window(module)}, {}


def _batch_norm(module: Any) -> Written:
    """Return the scale and the shift of each map: what batch normalization is at test time."""
    mean, variance = module.running_mean, module.running_var
    if mean is None or module.weight is None:
        raise UsageError("the playground needs batch normalization's running statistics and scale")
    scale = module.weight.double() / (variance.double() + module.eps).sqrt()
    shift = module.bias.double() - mean.double() * scale
    window = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
    return {"kind": "subsample", **window}, {"weight": scale, "bias": shift}


def _linear(module: Any) -> Written:
    return {"kind": "fc", "groups": getattr(module, "groups", 1)}, _affine(module)


def _scaled_tanh(module: nn.Module) -> Written:
    return {"kind": "tanh", "amplitude": AMPLITUDE, "slope": SLOPE}, {}


def _scaled_dropout(module: ScaledDropout) -> Written:
    return {"kind": "factor", "factor": 1 - module.rate}, {}


def _rbf(module: RbfOutput) -> Written:
    return {"kind": "rbf"}, {"weight": module.bitmaps}


def _plain(kind: str, **constants: float) -> Callable[[Any], Written]:
    """Return the writer of a layer without weights."""
    return lambda module: ({"kind": kind, **constants}, {})


_WRITERS: dict[type, Callable[[Any], Written]] = {
    Conv2d: _conv,
    WholeMapConv2d: _conv,
    nn.Conv2d: _conv,
    TableConv2d: _table_conv,
    LocallyConnected2d: _local,
    MaxPool2d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    Subsample: _subsample,
    LocalResponseNorm: _across_maps,
    WithinMapNorm: _within_map,
    BatchNorm2d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: _plain("relu"),
    nn.Tanh: _plain("tanh", amplitude=1.0, slope=1.0),
    ScaledTanh: _scaled_tanh,
    nn.Sigmoid: _plain("sigmoid"),
    nn.Dropout: _plain("factor", factor=1.0),
    ScaledDropout: _scaled_dropout,
    nn.Flatten: _plain("flatten"),
    Linear: _linear,
    nn.Linear: _linear,
    GroupedLinear: _linear,
    RbfOutput: _rbf,
}
"""By the exact type: a subclass may compute something else."""
