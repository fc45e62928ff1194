"""Convolution, linear layer, activations, pooling and dropout, sized by a geometry.Window.

Conv2d and Linear leave their weights as NaN: init.py fills them from a generator, so that no
layer uses torch's global random state and a forgotten weight shows at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.geometry import Window
from cnnlab.models import pixel_blocks
from cnnlab.models.pooling import MaxPool2d


class Conv2d(nn.Conv2d):
    """nn.Conv2d whose windows may extend beyond the bottom and right edge (`window.ceil`).

    [N, C, H, W] -> [N, C', H', W']. Beyond these edges the input is 0, which equals the
    clipped windows of the 2012 source. The weights are not initialized.
    """

    def __init__(
        self, in_channels: int, out_channels: int, window: Window, groups: int = 1
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            window.kernel,
            window.stride,
            window.padding,
            window.dilation,
            groups,
        )
        self.window = window

    def reset_parameters(self) -> None:
        """Mark the weights as not initialized."""
        _fill_nan(self)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolved maps."""
        if self.window.ceil:
            below, right = (self.window.overhang(side) for side in maps.shape[-2:])
            if below or right:
                maps = F.pad(maps, (0, right, 0, below))
        if pixel_blocks.is_faster(self, maps):
            return pixel_blocks.convolve(maps, self)
        return super().forward(maps)


class WholeMapConv2d(Conv2d):
    """A convolution whose kernel covers the whole map, computed as a matrix product.

    [N, C, K, K] -> [N, C', 1, 1]. The same result as Conv2d, several times as fast on small maps.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return one value per kernel and image."""
        assert maps.shape[-2:] == self.weight.shape[-2:], "the kernel must cover the map"
        weight = self.weight
        if weight.is_contiguous(memory_format=torch.channels_last):  # flattened without a copy
            maps, weight = maps.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        values = F.linear(maps.flatten(1), weight.flatten(1), self.bias)
        return values[:, :, None, None]


class Linear(nn.Linear):
    """nn.Linear, [N, features] -> [N, features'], whose weights are not initialized."""

    def reset_parameters(self) -> None:
        """Mark the weights as not initialized."""
        _fill_nan(self)


class GroupedLinear(nn.Module):
    """A linear layer in `groups` parts, each of which sees its own part of the inputs.

    [N, features] -> [N, features']; `weight` [features', features / groups] and `bias` [features']
    of all parts, one after the other; not initialized.
    """

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.groups = in_features, out_features, groups
        shape = (out_features, in_features // groups)
        self.weight = nn.Parameter(torch.full(shape, float("nan")))
        self.bias = nn.Parameter(torch.full((out_features,), float("nan")))

    def forward(self, units: Tensor) -> Tensor:
        """Return the units of all parts."""
        seen, weights, biases = (
            tensor.chunk(self.groups, dim)
            for tensor, dim in ((units, 1), (self.weight, 0), (self.bias, 0))
        )
        return torch.cat(list(map(F.linear, seen, weights, biases)), 1)

    def num_multiply_adds(self, output: list[int]) -> int:
        """Return one per weight."""
        return self.weight.numel()

    def parameter_formula(self) -> str:
        """Return the lecture-style formula of the trainable numbers."""
        seen, out = self.in_features // self.groups, self.out_features
        return f"{seen}·{out} + {out} = {seen * out + out:,}"


ACTIVATIONS: dict[str, tuple[str, type[nn.Module]]] = {
    "relu": ("rectifier", nn.ReLU),
    "tanh": ("squash", nn.Tanh),
    "sigmoid": ("squash", nn.Sigmoid),
}
"""Name -> (role of the layer, module)."""


def max_pool(window: Window) -> MaxPool2d:
    """Return max pooling over `window`."""
    return MaxPool2d(window)


def average_pool(window: Window) -> nn.AvgPool2d:
    """Return mean pooling over `window`; beyond the edge, a window averages only what it covers.

    Without padding `count_include_pad` changes no value, but with it torch.compile computes wrong
    gradients (compiling.check).
    """
    kernel, stride, padding = window.kernel, window.stride, window.padding
    return nn.AvgPool2d(
        kernel, stride, padding, ceil_mode=window.ceil, count_include_pad=padding > 0
    )


def window_of(module: nn.Module) -> Window | None:
    """Return the window of a convolution or pooling layer; None for other layers.

    Reads the `window` of cnnlab's own layers and the arguments of torch's square ones; a window
    that is not square, or whose padding is a word, has none.
    """
    if isinstance(window := getattr(module, "window", None), Window):
        return window
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return None
    given = (module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    sides = [side for value in given if (side := _side(value)) is not None]
    if len(sides) < len(given):
        return None
    kernel, stride, padding, dilation = sides
    return Window(kernel, stride, padding, dilation, getattr(module, "ceil_mode", False))


def _side(value: object) -> int | None:
    """Return the number that both sides have; None: they differ, or it is a word."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int) else None


class ScaledDropout(nn.Module):
    """Dropout that scales at test time: units are multiplied by 1 - rate there, not while training.

    As in the 2012 paper. nn.Dropout scales while training instead (inverted dropout); the two
    differ in how large the input of the next layer is at step 0.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, units: Tensor) -> Tensor:
        """Return the units, some set to 0 (training) or all scaled (test)."""
        if not self.training:
            return units * (1 - self.rate)
        draws = torch.rand(units.shape, device=units.device)  # float32: bf16 has too few levels
        return units * (draws >= self.rate)

    def extra_repr(self) -> str:
        """Return the rate for printing."""
        return f"rate={self.rate:g}"


def _fill_nan(module: nn.Conv2d | nn.Linear) -> None:
    for parameter in module.parameters(recurse=False):
        nn.init.constant_(parameter, float("nan"))
