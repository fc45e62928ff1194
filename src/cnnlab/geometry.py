"""The lecture's arithmetic of layers: output sizes, receptive fields, numbers of parameters.

Integers only, no torch. All maps are square; `size` is their height and width in pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The window of a convolution or pooling layer; all in pixels.

    ceil: round the number of positions up, so that the last window may extend beyond the bottom and
    right edge, as in the 2012 source code; otherwise down, as in the lecture's formula.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    ceil: bool = False

    @property
    def extent(self) -> int:
        """Return the pixels from the window's first to its last entry, D(K - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def output_size(self, size: int) -> int:
        """Return the number of positions along one side; 0 when the window does not fit."""
        return output_size(size, self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def overhang(self, size: int) -> int:
        """Return how many pixels the last window extends beyond the bottom or right edge."""
        span = (self.output_size(size) - 1) * self.stride + self.extent
        return max(0, span - size - 2 * self.padding)

    def unread(self, size: int) -> int:
        """Return how many pixels of the padded bottom or right edge no window reads."""
        span = (self.output_size(size) - 1) * self.stride + self.extent
        return max(0, size + 2 * self.padding - span)

    def formula(self, size: int) -> str:
        """Return the lecture's formula for the output size, with numbers."""
        rounding = "ceil" if self.ceil else "floor"
        inner = f"({size} + 2·{self.padding} - {self.dilation}·({self.kernel} - 1) - 1)"
        return f"{rounding}({inner}/{self.stride} + 1) = {self.output_size(size)}"


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil: bool = False
) -> int:
    """Return H' = floor((H + 2P - D(K - 1) - 1) / S + 1), with ceil in place of floor if asked.

    With ceil, a window that would start beyond the last pixel is left out, as in torch.
    Returns 0 when the window does not fit at all.
    Source: the lecture, convolutional layer and pooling summaries; `ceil` from the 2012 source.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    steps = -(-room // stride) if ceil else room // stride
    if ceil and steps * stride >= size + padding:
        steps -= 1
    return max(0, steps + 1)


def trace_sizes(size: int, windows: Mapping[str, Window]) -> dict[str, int]:
    """Return the output size after each named window, in order, for an input of `size`."""
    sizes = {}
    for name, window in windows.items():
        size = window.output_size(size) if size > 0 else 0
        sizes[name] = size
    return sizes


def smallest_input(windows: Mapping[str, Window]) -> int:
    """Return the smallest input size for which every window has at least one position."""
    size = 1
    while min(trace_sizes(size, windows).values(), default=1) < 1:
        size += 1
    return size


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a unit: the input pixels that it depends on, along one side.

    jump_pixels: distance between the fields of neighboring units; 0 when each sees the whole image.
    start_pixels: first column of the field of the first unit, negative with padding.
    """

    size_pixels: int = 1
    jump_pixels: int = 1
    start_pixels: int = 0

    def through(self, window: Window) -> "ReceptiveField":
        """Return the field after `window`: (extent - 1) jumps larger, the jump times `stride`."""
        grown = self.size_pixels + (window.extent - 1) * self.jump_pixels
        start = self.start_pixels - window.padding * self.jump_pixels
        return ReceptiveField(grown, self.jump_pixels * window.stride, start)


def whole_image(size: int) -> ReceptiveField:
    """Return the field of a fully connected unit."""
    return ReceptiveField(size, 0, 0)


def conv_parameters(in_channels: int, out_channels: int, kernel: int, groups: int = 1) -> int:
    """Return C_out (C_in / groups) K^2 weights + C_out biases."""
    return out_channels * (in_channels // groups) * kernel**2 + out_channels


def fc_parameters(in_features: int, out_features: int) -> int:
    """Return M N weights + M biases."""
    return out_features * in_features + out_features
