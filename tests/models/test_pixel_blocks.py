"""A first convolution on blocks of pixels, against torch's convolution in float64."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from cnnlab.geometry import Window
from cnnlab.models import pixel_blocks
from cnnlab.models.layers import Conv2d

LAST = torch.channels_last
SHAPES = [  # channels, kernel, stride, padding, height, width
    (3, 11, 4, 2, 224, 224),  # AlexNet of 2014
    (3, 11, 4, 0, 227, 227),  # AlexNet of 2012
    (3, 11, 4, 0, 231, 228),  # a part beyond the last kernel
    (1, 11, 4, 0, 64, 67),
    (2, 12, 4, 1, 33, 40),
    (4, 5, 4, 2, 21, 17),
    (3, 7, 2, 1, 56, 57),  # ZFNet
    (3, 5, 3, 1, 33, 31),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_convolution(
    shape: tuple[int, ...], bias: bool
) -> None:
    channels, kernel, stride, padding, *sides = shape
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, 8, kernel, stride, padding, bias=bias).double()
    convolution.to(memory_format=LAST)
    maps = torch.randn(2, channels, *sides, dtype=torch.float64).to(memory_format=LAST)
    inputs = [maps.requires_grad_(), *convolution.parameters()]

    found, wanted = pixel_blocks.convolve(maps, convolution), convolution(maps)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-13)
    assert found.is_contiguous(memory_format=LAST)
    pull = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad(found, inputs, pull),
        torch.autograd.grad(wanted, inputs, pull),
        strict=True,
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


class Elsewhere:
    """Maps on a device that is not there."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)


@pytest.mark.parametrize(
    ("channels", "window", "groups", "device", "is_faster"),
    [
        (3, Window(11, stride=4), 1, "cuda", True),
        (1, Window(7, stride=2, padding=1), 1, "cuda", True),
        (3, Window(11, stride=4), 1, "cpu", False),
        (3, Window(11), 1, "cuda", False),
        (3, Window(4, stride=4), 1, "cuda", False),
        (96, Window(11, stride=4), 1, "cuda", False),
        (4, Window(11, stride=4), 2, "cuda", False),
        (3, Window(5, stride=2, dilation=2), 1, "cuda", False),
    ],
)
def test_it_is_for_large_steps_over_few_channels_on_a_gpu(
    channels: int, window: Window, groups: int, device: str, is_faster: bool
) -> None:
    convolution, maps = Conv2d(channels, 8, window, groups), cast(Tensor, Elsewhere(device))
    if channels > 1:  # else both memory formats are one
        assert not pixel_blocks.is_faster(convolution, maps)
    assert pixel_blocks.is_faster(convolution.to(memory_format=LAST), maps) == is_faster
