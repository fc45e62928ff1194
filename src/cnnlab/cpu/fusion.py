"""CPU fusion: adjacent layers computed as one group, with the same mathematics and fuller vectors.

A convolution to a few maps leaves most lanes of a vector empty, and max pooling of a few maps runs
one number at a time. Both end when the four positions of each pooling window become four maps: a
convolution of stride 2 whose kernel is one larger, each of its four copies shifted by a pixel,
computes them, and the positions of a window are then as far apart as the pixels of a map, which
pooling takes many at a time. The gradient of a convolution of a few maps is computed faster with
channels first for the maps, and with channels last for the weights. docs/performance.md has the
measurements.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_MAPS = 8
"""Most maps for which fusion is faster; at 16 torch's own kernels win (AVX-512, two threads)."""


Compute = Callable[[Tensor, Sequence[nn.Module]], Tensor]
"""(maps, modules) -> maps."""


class FusedGroup(NamedTuple):
    """Names of adjacent layers and the function that computes them."""

    names: tuple[str, ...]
    compute: Compute


def fused_groups(
    modules: dict[str, nn.Module],
    convolutions: Collection[type] = (nn.Conv2d,),
    pools: Collection[type] = (nn.MaxPool2d,),
) -> tuple[FusedGroup, ...]:
    """Split the layers into groups, in order; a layer that gains nothing is a group by itself.

    convolutions: the types that compute what nn.Conv2d does, at least for stride, dilation and
    groups of 1 without padding. pools: those that compute what nn.MaxPool2d does. Their subclasses
    do not count.
    """

    def fuse(window: Sequence[nn.Module], is_first: bool) -> tuple[int, Compute]:
        if _convolves_and_pools_few_maps(window, convolutions):
            return 3, convolve_pool_rectify
        if _rectifies_and_pools(window, pools):
            return 2, pool_and_rectify
        if not is_first and _sees_few_maps(window[0], convolutions):  # images need no gradient
            return 1, convolve_few_maps
        return 1, _apply

    return _grouped(modules, fuse)


def pooling_first(
    modules: dict[str, nn.Module], pools: Collection[type] = (nn.MaxPool2d,)
) -> tuple[FusedGroup, ...]:
    """Split the layers into groups, in order, whose max pooling comes before its ReLU.

    The same numbers and gradients bit for bit, on any device; none where that changes nothing.
    """

    def fuse(window: Sequence[nn.Module], is_first: bool) -> tuple[int, Compute]:
        return (2, pool_and_rectify) if _rectifies_and_pools(window, pools) else (1, _apply)

    groups = _grouped(modules, fuse)
    return groups if len(groups) < len(modules) else ()


def _grouped(
    modules: dict[str, nn.Module],
    fuse: Callable[[Sequence[nn.Module], bool], tuple[int, Compute]],
) -> tuple[FusedGroup, ...]:
    """Split the layers into groups, in order.

    fuse: (the next three layers, whether they are the first) -> how many are a group, and what
    computes it.
    """
    names, groups = list(modules), list[FusedGroup]()
    while names:
        size, compute = fuse([modules[name] for name in names[:3]], not groups)
        groups.append(FusedGroup(tuple(names[:size]), compute))
        names = names[size:]
    return tuple(groups)


def is_faster_for(images: Tensor) -> bool:
    """Return whether to use the groups: float32 on a CPU, while nothing traces the layers."""
    return (
        isinstance(images, Tensor)
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not is_traced()
    )


def is_on_gpu(images: Any) -> bool:
    """Return whether to use the groups of `pooling_first`: on CUDA, while nothing traces them."""
    return isinstance(images, Tensor) and images.device.type == "cuda" and not is_traced()


def is_traced() -> bool:
    """Return whether torch.compile, an export or a tracer looks at the layers."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def have_hooks(modules: Iterable[nn.Module]) -> bool:
    """Return whether a module has a hook, which must see what that module alone computes."""
    return any(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        for module in modules
    )


def convolve_pool_rectify(maps: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """Return relu(pool(convolution(maps))): [N,C,H,W] -> [N,C',h,w], channels first.

    Where pooling would drop a row or column of the convolved map, the layers run one by one.
    """
    convolution, pool, rectifier = modules
    assert isinstance(convolution, nn.Conv2d)
    sides = (side - k + 1 for side, k in zip(maps.shape[-2:], convolution.kernel_size, strict=True))
    if any(side % 2 for side in sides):
        return rectifier(pool(convolution(maps)))

    bias = convolution.bias
    positions = F.conv2d(
        _channels_first(maps),
        _shifted_copies(convolution.weight),
        None if bias is None else bias[:, None].expand(-1, 4).reshape(-1),
        stride=2,
    )

    # Pooling sees the pixels as its channels, and of each map two rows of two positions.
    num, _, height, width = positions.shape
    windows = positions.contiguous().view(num, -1, 2, height * width)
    largest = F.max_pool2d(windows.permute(0, 3, 1, 2), 2)
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


def _is_plain(module: nn.Module, convolutions: Collection[type]) -> TypeGuard[nn.Conv2d]:
    """Return whether this is a convolution with stride 1, no padding, dilation or groups."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in convolutions
        and _numbers(module.stride, module.dilation, module.groups) == {1}
        and _numbers(module.padding) == {0}
    )


def _sees_few_maps(module: nn.Module, convolutions: Collection[type]) -> bool:
    return _is_plain(module, convolutions) and module.in_channels <= FEW_MAPS


def _rectifies_and_pools(modules: Sequence[nn.Module], pools: Collection[type]) -> bool:
    first, *others = modules
    return type(first) is nn.ReLU and bool(others) and type(others[0]) in pools


def _convolves_and_pools_few_maps(
    modules: Sequence[nn.Module], convolutions: Collection[type]
) -> bool:
    if len(modules) < 3:
        return False

    convolution, pool, rectifier = modules
    return (
        _is_plain(convolution, convolutions)
        and convolution.out_channels <= FEW_MAPS
        and isinstance(pool, nn.MaxPool2d)
        and _numbers(pool.kernel_size, pool.stride) == {2}
        and _numbers(pool.padding) == {0}
        and isinstance(rectifier, nn.ReLU)
    )


def _numbers(*settings: Any) -> set[Any]:
    pairs = (value if isinstance(value, tuple) else (value,) for value in settings)
    return {number for pair in pairs for number in pair}


class _ConvolveFewMaps(torch.autograd.Function):
    """conv2d(maps, weight, bias) of a few maps, each gradient in the faster memory format."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolved maps in channels_last order."""
        last = maps.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(maps, last, weight)
        return F.conv2d(last, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of maps, weight and bias, None where nobody needs one."""
        maps, last, weight = ctx.saved_tensors
        to_maps = to_weight = to_bias = None
        needs_maps, *needs_weights = ctx.needs_input_grad

        if any(needs_weights):
            wanted = [False, *needs_weights]
            _, to_weight, to_bias = _convolution_backward(gradients[0], last, weight, wanted)
        if needs_maps:
            first = gradients[0].contiguous(), maps.contiguous(), weight.contiguous()
            to_maps, *_ = _convolution_backward(*first, [True, False, False])
        return to_maps, to_weight, to_bias


def _convolution_backward(
    gradient: Tensor, maps: Tensor, weight: Tensor, wanted: list[bool]
) -> Any:
    """Return the wanted ones of the gradients of maps, weight and bias."""
    stride_1_without_padding = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    return torch.ops.aten.convolution_backward.default(
        gradient, maps, weight, [len(weight)], *stride_1_without_padding, wanted
    )


def _channels_first(maps: Tensor) -> Tensor:
    """Return contiguous maps, also by the strides of a single channel, which torch leaves open."""
    return maps.contiguous().view(-1).view(maps.shape)


def _shifted_copies(weight: Tensor) -> Tensor:
    """[C',C,k,k] -> [4C',C,k+1,k+1]: each kernel at (0,0), (0,1), (1,0), (1,1) among zeros."""
    maps, channels, height, width = weight.shape
    copies = weight.reshape(-1, height * width) @ _shifts(height, width, weight.dtype)
    copies = copies.view(maps, channels, 4, -1).transpose(1, 2)
    return copies.reshape(4 * maps, channels, height + 1, width + 1)


@cache
def _shifts(height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return [height * width, 4 * (height + 1) * (width + 1)]: 1 where a weight goes, 0 elsewhere.

    A product with it copies exactly, as each of its sums has one term that is not 0.
    """
    with torch.inference_mode(False):  # training may come after the evaluation that asked first
        one_hot = torch.eye(height * width, dtype=dtype).view(-1, height, width)
        copies = [
            F.pad(one_hot, (right, 1 - right, down, 1 - down))
            for down in (0, 1)
            for right in (0, 1)
        ]
        return torch.stack(copies, 1).view(height * width, -1)
