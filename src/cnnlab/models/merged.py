"""Layers computed in another way on a CPU: the same mathematics in operations that fill vectors.

A convolution to a few maps leaves most lanes of a vector empty, and max pooling of a few maps runs
one number at a time. Both end when the four places of each pooling window become four maps: a
convolution of stride 2 whose kernel is one larger, each of its four copies shifted by a pixel,
computes them, and pooling is the largest of four maps. A convolution of a few maps sends its
gradient to them faster with channels first, and to its weights with channels last.
docs/performance.md has the measurements.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cnnlab.models.layers import Conv2d

FEW_MAPS = 8
"""Maps up to which this pays; with 16 the library's own way is faster (AVX-512, two threads)."""

convolution_backward = torch.ops.aten.convolution_backward
threshold_backward = torch.ops.aten.threshold_backward


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


def convolve_pool_rectify(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Return relu(pool(convolution(maps))): [N,C,H,W] -> [N,C',h,w].

    Where pooling would leave a line of the convolved map out, the layers are applied in turn.
    """
    convolution, pool, rectifier = modules
    assert isinstance(convolution, nn.Conv2d)
    sides = (side - k + 1 for side, k in zip(maps.shape[-2:], convolution.kernel_size, strict=True))
    if any(side % 2 for side in sides):
        return rectifier(pool(convolution(maps)))
    return _ConvolvePoolRectify.apply(maps, convolution.weight, convolution.bias)


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


def _numbers(*settings: Any) -> set[Any]:
    pairs = (value if isinstance(value, tuple) else (value,) for value in settings)
    return {number for pair in pairs for number in pair}


class _ConvolvePoolRectify(torch.autograd.Function):
    """relu(max_pool2d(conv2d(maps, weight, bias), 2)) for even sides behind the convolution.

    Of equal units in a pooling window the first one gets the gradient, as in torch.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the pooled and rectified maps; keep what they were the largest of."""
        maps = _channels_first(maps)
        wide = _shifted_copies(weight)
        places = F.conv2d(maps, wide, None if bias is None else bias.repeat(4), 2)
        num, _, height, width = places.shape
        four = places.contiguous().view(num, 2, 2, -1)  # [N, line, column, C' h w]
        pairs = torch.maximum(four[:, :, 0], four[:, :, 1])
        pooled = torch.maximum(pairs[:, 0], pairs[:, 1]).clamp_min_(0)
        pooled = pooled.view(num, len(weight), height, width)
        ctx.save_for_backward(maps, wide, four, pairs, pooled)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Send each gradient to the unit that was the largest, then convolve back."""
        maps, wide, four, pairs, pooled = ctx.saved_tensors
        rectified = threshold_backward(gradients[0].contiguous(), pooled, 0)
        halves, quarters = torch.empty_like(pairs), torch.empty_like(four)
        _share_out(rectified.view(len(maps), -1), pairs, halves)
        _share_out(halves, four, quarters)
        places = quarters.view(len(maps), len(wide), *pooled.shape[2:])
        wanted = [ctx.needs_input_grad[0], True, ctx.needs_input_grad[2]]
        to_maps, to_wide, to_bias = _convolve_back(places, maps, wide, 2, wanted)
        to_weight = _inner(to_wide.contiguous()).sum((0, 1))
        return to_maps, to_weight, to_bias.view(4, -1).sum(0) if wanted[2] else None


class _ConvolveFewMaps(torch.autograd.Function):
    """conv2d(maps, weight, bias) of a few maps; each gradient in the memory format it likes."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolved maps in channels_last order."""
        last = maps.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(maps, last, weight)
        return F.conv2d(last, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Convolve back to the weights with channels last, to the maps with channels first."""
        maps, last, weight = ctx.saved_tensors
        needs_maps, needs_weight, needs_bias = ctx.needs_input_grad
        to_maps = to_weight = to_bias = None
        if needs_weight or needs_bias:
            wanted = [False, needs_weight, needs_bias]
            _, to_weight, to_bias = _convolve_back(gradients[0], last, weight, 1, wanted)
        if needs_maps:
            first = gradients[0].contiguous(), maps.contiguous(), weight.contiguous()
            to_maps, *_ = _convolve_back(*first, 1, [True, False, False])
        return to_maps, to_weight, to_bias


def _convolve_back(
    gradient: Tensor, maps: Tensor, weight: Tensor, stride: int, wanted: list[bool]
) -> Any:
    """Return the wanted ones of the gradients of maps, weight and bias."""
    bias_size = [len(weight)]
    window = ([stride, stride], [0, 0], [1, 1])
    return convolution_backward(
        gradient, maps, weight, bias_size, *window, False, [0, 0], 1, wanted
    )


def _channels_first(maps: Tensor) -> Tensor:
    """Return the maps with channels first, also by their strides where there is one channel."""
    return maps.contiguous().view(-1).view(maps.shape)


def _share_out(gradient: Tensor, values: Tensor, out: Tensor) -> None:
    """Write `gradient` [..., n] into the larger of each two `values` [..., 2, n], into `out`."""
    first, second = out.unbind(-2)
    difference = values.select(-2, 1) - values.select(-2, 0)
    threshold_backward.grad_input(gradient, difference, 0, grad_input=second)
    torch.sub(gradient, second, out=first)


def _shifted_copies(weight: Tensor) -> Tensor:
    """[C',C,k,k] -> [4C',C,k+1,k+1]: kernels shifted by (0,0), (0,1), (1,0), (1,1) among zeros."""
    maps, channels, height, width = weight.shape
    wide = weight.new_zeros(4 * maps, channels, height + 1, width + 1)
    _inner(wide).copy_(weight)
    return wide


def _inner(wide: Tensor) -> Tensor:
    """Return the view [2,2,C',C,k,k] of the four copies, shifted back, in `wide`."""
    maps, channels, height, width = wide.shape
    *outer, line, column = wide.view(2, 2, maps // 4, channels, height, width).stride()
    shape = (2, 2, maps // 4, channels, height - 1, width - 1)
    return wide.as_strided(shape, (outer[0] + line, outer[1] + column, *outer[2:], line, column))
