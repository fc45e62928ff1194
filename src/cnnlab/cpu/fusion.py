"""Layers computed in another way on a CPU: the same mathematics in operations that fill vectors.

A convolution to a few maps leaves most lanes of a vector empty, and max pooling of a few maps runs
one number at a time. Both end when the four places of each pooling window become four maps: a
convolution of stride 2 whose kernel is one larger, each of its four copies shifted by a pixel,
computes them, and a window's places lie as far apart as the pixels of a map, which pooling takes
many at a time. A convolution of a few maps sends its gradient to them faster with channels first,
and to its weights with channels last. docs/performance.md has the measurements.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.models.layers import Conv2d

FEW_MAPS = 8
"""Maps up to which this pays; with 16 the library's own way is faster (AVX-512, two threads)."""


class Stretch(NamedTuple):
    """Layers in a row, and what computes them: (maps, their modules) -> maps."""

    names: tuple[str, ...]
    compute: Callable[[Tensor, Sequence[nn.Module]], Tensor]


def stretches(modules: dict[str, nn.Module]) -> tuple[Stretch, ...]:
    """Return all layers in order, those together that are faster together."""
    names, found = list(modules), []
    while names:
        next_three = [modules[name] for name in names[:3]]
        if _pools_few_maps(next_three):
            found.append(Stretch(tuple(names[:3]), convolve_pool_rectify))
        elif _rectifies_and_pools(next_three[:2]):
            found.append(Stretch(tuple(names[:2]), pool_and_rectify))
        else:
            is_first = not found  # nothing goes back to the images
            narrow = not is_first and _sees_few_maps(next_three[0])
            found.append(Stretch((names[0],), convolve_few_maps if narrow else _apply))
        names = names[len(found[-1].names) :]
    return tuple(found)


def pay(images: Tensor) -> bool:
    """Say whether stretches are faster: float32 on a CPU, and nobody traces the layers."""
    return (
        isinstance(images, Tensor)
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def is_watched(modules: Iterable[nn.Module]) -> bool:
    """Say whether somebody has hooks on one of the modules, who must see what each one does."""
    for module in modules:
        if (
            module._forward_hooks
            or module._forward_pre_hooks
            or module._backward_hooks
            or module._backward_pre_hooks
        ):
            return True
    return False


def convolve_pool_rectify(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Return relu(pool(convolution(maps))): [N,C,H,W] -> [N,C',h,w], channels first.

    Where pooling would leave a line of the convolved map out, the layers are applied in turn.
    """
    convolution, pool, rectifier = modules
    assert isinstance(convolution, nn.Conv2d)
    sides = (side - k + 1 for side, k in zip(maps.shape[-2:], convolution.kernel_size, strict=True))
    if any(side % 2 for side in sides):
        return rectifier(pool(convolution(maps)))
    bias = convolution.bias
    places = F.conv2d(
        _channels_first(maps),
        _shifted_copies(convolution.weight),
        None if bias is None else bias[:, None].expand(-1, 4).reshape(-1),
        stride=2,
    )
    num, _, height, width = places.shape
    windows = places.contiguous().view(num, -1, 2, height * width)  # a window's lines, map by map
    largest = F.max_pool2d(windows.permute(0, 3, 1, 2), 2)  # pixels are its channels, all at once
    return rectifier(largest.permute(0, 2, 3, 1).reshape(num, -1, height, width))


def pool_and_rectify(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Return pool(relu(maps)), bit for bit and gradient for gradient, on a quarter of the units."""
    rectifier, pool = modules
    return rectifier(pool(maps))


def convolve_few_maps(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Return convolution(maps), of stride 1 without padding: [N,C,H,W] -> [N,C',h,w]."""
    (convolution,) = modules
    return _ConvolveFewMaps.apply(maps, convolution.weight, convolution.bias)


def _apply(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    return modules[0](maps)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Say whether this is a convolution over whole windows at every pixel."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in (nn.Conv2d, Conv2d)
        and _numbers(module.stride, module.dilation, module.groups) == {1}
        and _numbers(module.padding) == {0}
    )


def _sees_few_maps(module: nn.Module) -> bool:
    return _is_plain(module) and module.in_channels <= FEW_MAPS


def _pools_few_maps(modules: Sequence[nn.Module]) -> bool:
    if len(modules) < 3:
        return False
    convolution, pool, rectifier = modules
    return (
        _is_plain(convolution)
        and convolution.out_channels <= FEW_MAPS
        and isinstance(pool, nn.MaxPool2d)
        and _numbers(pool.kernel_size, pool.stride) == {2}
        and _numbers(pool.padding) == {0}
        and isinstance(rectifier, nn.ReLU)
    )


def _rectifies_and_pools(modules: Sequence[nn.Module]) -> bool:
    return [type(module) for module in modules] == [nn.ReLU, nn.MaxPool2d]


def _numbers(*settings: Any) -> set[Any]:
    pairs = (value if isinstance(value, tuple) else (value,) for value in settings)
    return {number for pair in pairs for number in pair}


class _ConvolveFewMaps(torch.autograd.Function):
    """conv2d(maps, weight, bias) of a few maps; each gradient in the memory format it likes."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolved maps in channels_last order."""
        last = maps.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(maps, last, weight)
        return F.conv2d(last, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Convolve back to the weights with channels last, to the maps with channels first."""
        maps, last, weight = ctx.saved_tensors
        to_maps = to_weight = to_bias = None
        needs_maps, *needs_weights = ctx.needs_input_grad
        if any(needs_weights):
            wanted = [False, *needs_weights]
            _, to_weight, to_bias = _convolve_back(gradients[0], last, weight, wanted)
        if needs_maps:
            first = gradients[0].contiguous(), maps.contiguous(), weight.contiguous()
            to_maps, *_ = _convolve_back(*first, [True, False, False])
        return to_maps, to_weight, to_bias


def _convolve_back(gradient: Tensor, maps: Tensor, weight: Tensor, wanted: list[bool]) -> Any:
    """Return the wanted ones of the gradients of maps, weight and bias."""
    everywhere = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    return torch.ops.aten.convolution_backward.default(
        gradient, maps, weight, [len(weight)], *everywhere, wanted
    )


def _channels_first(maps: Tensor) -> Tensor:
    """Return the maps with channels first, also by their strides where there is one channel."""
    return maps.contiguous().view(-1).view(maps.shape)


def _shifted_copies(weight: Tensor) -> Tensor:
    """[C',C,k,k] -> [4C',C,k+1,k+1]: each kernel at (0,0), (0,1), (1,0), (1,1) among zeros."""
    maps, channels, height, width = weight.shape
    places = _places(height, width, weight.dtype)
    copies = weight.reshape(-1, height * width) @ places  # each sum has one term that is not 0
    copies = copies.view(maps, channels, 4, -1).transpose(1, 2)
    return copies.reshape(4 * maps, channels, height + 1, width + 1)


@cache
def _places(height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return [height * width, 4 * (height + 1) * (width + 1)]: 1 where a weight goes."""
    with torch.inference_mode(False):  # training may come after the evaluation that asked first
        goes = torch.zeros(height, width, 2, 2, height + 1, width + 1, dtype=dtype)
    for line, column, down, right in product(range(height), range(width), range(2), range(2)):
        goes[line, column, down, right, line + down, column + right] = 1
    return goes.view(height * width, -1)
