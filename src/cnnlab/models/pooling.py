"""Max pooling that is computed by torch, or there and back by a kernel of one's own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cnnlab.cpu.fusion import is_traced
from cnnlab.geometry import Window


class Maps(NamedTuple):
    """The maps that were pooled: their shape [N,C,H,W] and memory format."""

    shape: torch.Size
    layout: torch.memory_format


class PoolKernel(NamedTuple):
    """A way to compute max pooling of maps [N,C,H,W].

    pool: (maps, window) -> pooled maps [N,C,h,w], and for each the place of its maximum in the
    window, 0 .. kernel^2 - 1, row by row. gradient: (gradient for the pooled maps, places, maps,
    window) -> gradient for the maps. takes: whether it can compute a window; torch takes all.
    """

    pool: Callable[[Tensor, Window], tuple[Tensor, Tensor]]
    gradient: Callable[[Tensor, Tensor, Maps, Window], Tensor]
    takes: Callable[[Window], bool]


class MaxPool2d(nn.MaxPool2d):
    """nn.MaxPool2d over a `window`, [N, C, H, W] -> [N, C, H', W'].

    kernel: what computes it (`kernels.use` chooses); None: torch, as always where torch.compile or
    a tracer looks. Of equal maxima the first counts, of several NaNs the last, as in torch.
    """

    def __init__(self, window: Window) -> None:
        super().__init__(
            window.kernel,
            window.stride,
            window.padding,
            window.dilation,
            ceil_mode=window.ceil,
        )
        self.window = window
        self.kernel: PoolKernel | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled maps."""
        if self.kernel is None or is_traced():
            return super().forward(maps)
        if not self._is_usual(maps):
            return super().forward(maps)  # where torch says what is wrong
        if not (torch.is_grad_enabled() and maps.requires_grad):
            return self.kernel.pool(maps, self.window)[0]
        pooled, _ = _Pooled.apply(maps, self.window, self.kernel)
        assert isinstance(pooled, Tensor)
        return pooled

    def _is_usual(self, maps: Tensor) -> bool:
        """Return whether these are a batch of numbers in which the window has a position."""
        return (
            maps.dim() == 4
            and maps.is_floating_point()
            and all(self.window.output_size(side) > 0 for side in maps.shape[2:])
        )


class _Pooled(torch.autograd.Function):
    """Max pooling; keeps the places of the maxima, one byte each, for the backward pass."""

    @staticmethod
    def forward(maps: Tensor, window: Window, kernel: PoolKernel) -> tuple[Tensor, Tensor]:
        """Return the pooled maps and the places of the maxima."""
        return kernel.pool(maps, window)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save the places, and what the maps were."""
        maps, ctx.window, ctx.kernel = inputs
        _, places = output
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(places)
        ctx.maps = Maps(maps.shape, layout_of(maps))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return for each pixel the sum of the gradients of the windows whose maximum it is."""
        (places,) = ctx.saved_tensors
        return ctx.kernel.gradient(gradients[0], places, ctx.maps, ctx.window), None, None


def layout_of(maps: Tensor) -> torch.memory_format:
    """Return the memory format that maps have, or are brought into."""
    return torch.contiguous_format if maps.is_contiguous() else torch.channels_last
