"""Run a network whose weights are meta tensors, which have shapes but no values.

torch runs layers on meta tensors too, but imports its compiler for that: 1.4 s and 140 MB. Here the
weights alone are meta tensors. The two functions that use nearly all weights answer with zeros of
the right shape, and layers without weights compute on the CPU, as always.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cnnlab.errors import CnnlabError
from cnnlab.geometry import output_size
from cnnlab.models.network import Network


def without_weights(build: Callable[[], Network]) -> Network:
    """Return the network that `build` makes with meta weights: none is drawn or stored.

    A network of your own whose builder needs the values of its weights is built in full.
    """
    try:
        with torch.device("meta"):
            return build()
    except CnnlabError:
        raise
    except Exception:  # values were needed; an error of another kind is raised again
        return build()


class MetaWeights(TorchFunctionMode):
    """Answer convolutions and matrix products with meta weights by zeros of the right shape.

    Raises TypeError for any other computation with a meta tensor.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return the answer for a function with meta weights, and what it computes for others."""
        kwargs = kwargs or {}
        given = [*args, *kwargs.values()]
        if not any(isinstance(value, Tensor) and value.is_meta for value in given):
            return func(*args, **kwargs)

        if func in _ANSWERS:
            return _ANSWERS[func](*args, **kwargs)
        if func in _VIEWS or func.__name__ == "__get__":  # the getter of an attribute
            return func(*args, **kwargs)
        raise TypeError(f"{func.__name__} needs the values of the weights")


_VIEWS = {Tensor.flatten, Tensor.permute, Tensor.chunk, Tensor.is_contiguous, Tensor.numel}
"""What layers ask of a weight without using its values."""


def _linear(units: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if units.shape[-1] != weight.shape[1]:
        raise TypeError(f"{weight.shape[1]} features expected, got {units.shape[-1]}")
    return units.new_zeros(*units.shape[:-1], weight.shape[0])


def _conv2d(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    fits = maps.dim() == 4 and maps.shape[1] == weight.shape[1] * groups
    if not fits or isinstance(padding, str):
        raise TypeError("the sizes do not fit, or torch shall choose the padding")

    moves = zip(*map(_pair, (stride, padding, dilation)), strict=True)
    sides = [
        output_size(side, kernel, *move)
        for side, kernel, move in zip(maps.shape[2:], weight.shape[2:], moves, strict=True)
    ]
    if not all(sides):
        raise TypeError("the kernel is larger than the map")
    return maps.new_zeros(len(maps), len(weight), *sides)


def _batch_norm(maps: Tensor, *statistics: Any, **settings: Any) -> Tensor:
    return maps


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


_ANSWERS: dict[Any, Callable[..., Tensor]] = {
    F.linear: _linear,
    F.conv2d: _conv2d,
    F.batch_norm: _batch_norm,
}
