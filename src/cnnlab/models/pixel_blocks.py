"""A first convolution on blocks of pixels: the same sums over more channels in fewer steps.

A GPU's matrix units multiply many channels at once, and images have three. Blocks of s x s pixels,
as many as the stride, make s*s*3 channels of them; the convolution over blocks has stride 1, and
kernels of ceil(k / s) blocks, which zeros fill. AlexNet's 11 x 11 kernels of 3 channels at stride 4
become 3 x 3 kernels of 48. The results are those of the convolution in another order of summation.
docs/performance.md has the measurements.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.cpu.fusion import is_traced

FEW_CHANNELS = 4
"""Most channels of what counts as images."""

STRIDES = (2, 4)
"""For which it was measured: those of the first layers of ZFNet and AlexNet."""


def is_faster(convolution: nn.Conv2d, maps: Tensor) -> bool:
    """Return whether to convolve blocks: few channels on a CUDA device, while nothing traces."""
    return (
        maps.device.type == "cuda"
        and convolution.stride[0] in STRIDES
        and convolution.kernel_size[0] > convolution.stride[0]
        and convolution.in_channels <= FEW_CHANNELS
        and convolution.groups == 1
        and convolution.dilation == (1, 1)
        and convolution.weight.is_contiguous(memory_format=torch.channels_last)
        and not is_traced()
    )


def convolve(maps: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return convolution(maps), [N,C,H,W] -> [N,C',h,w], of square windows without groups.

    Differentiable in the maps, the weight and the bias.
    """
    weight, stride, padding = convolution.weight, convolution.stride[0], convolution.padding[0]
    assert isinstance(padding, int)
    if torch.is_autocast_enabled(maps.device.type):  # cast before the copies, not after
        maps = maps.to(torch.get_autocast_dtype(maps.device.type))

    # the blocks end with those of the last kernel: what is beyond is cut off, what is missing is 0
    own = weight.shape[-1]
    kernel = -(-own // stride) * stride
    below, right = (
        (side + 2 * padding - own) // stride * stride + kernel - padding - side
        for side in maps.shape[2:]
    )
    images = F.pad(maps, (padding, right, padding, below))
    kernels = F.pad(weight, (0, kernel - own, 0, kernel - own))
    return F.conv2d(_blocks(images, stride), _blocks(kernels, stride), convolution.bias)


def _blocks(maps: Tensor, size: int) -> Tensor:
    """Return blocks, [N,C,H,W] -> [N,size*size*C,H/size,W/size], in channels_last order."""
    number, _, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).unflatten(2, (width // size, size))
    blocks = rows.unflatten(1, (height // size, size)).transpose(2, 3)
    return blocks.reshape(number, height // size, width // size, -1).permute(0, 3, 1, 2)
