"""Local response normalization: across neighbouring maps, and within one map."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.geometry import Window


class LocalResponseNorm(nn.Module):
    """Divide each unit by (k + alpha * sum of squares over `size` neighbouring maps) ** beta.

    [N, C, H, W] -> [N, C, H, W]. alpha is per unit, as the paper's formula has it; the 2012 source
    and torch.nn.LocalResponseNorm divide theirs by `size`, so they want size * this alpha.
    groups: towers; a window never reaches over the border between two of them.
    Source: Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(
        self, size: int, alpha: float, beta: float = 0.75, k: float = 2.0, groups: int = 1
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.groups = size, alpha, beta, k, groups

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized maps; half-precision input is normalized in float32."""
        towers = maps.unflatten(1, (self.groups, -1)).flatten(0, 1) if self.groups > 1 else maps
        wide = towers.float() if towers.dtype in (torch.float16, torch.bfloat16) else towers
        normalized = _AcrossMaps.apply(wide, self.size, self.alpha, self.beta, self.k)
        return normalized.to(maps.dtype).view_as(maps)

    def extra_repr(self) -> str:
        """Return the constants for printing."""
        return (
            f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}, "
            f"k={self.k:g}, groups={self.groups}"
        )


class _AcrossMaps(torch.autograd.Function):
    """The normalization with a backward pass that keeps nothing but the input."""

    @staticmethod
    def forward(maps: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        """Return x f with f = d^-beta, d = k + alpha W(x^2), W the sum over the window."""
        divisor = window_sum(maps.square(), size).mul_(alpha).add_(k)
        return _power(divisor, beta).mul_(maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the input and the constants."""
        ctx.save_for_backward(inputs[0])
        ctx.constants = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return g f - 2 alpha beta x W(g f x / d): W is its own transpose."""
        (maps,) = ctx.saved_tensors
        size, alpha, beta, k = ctx.constants
        divisor = window_sum(maps.square(), size).mul_(alpha).add_(k)
        scaled = _power(divisor, beta).mul_(gradients[0])
        shared = window_sum((scaled * maps).div_(divisor), size)
        gradient = scaled.addcmul_(maps, shared, value=-2 * alpha * beta)
        return gradient, None, None, None, None


def window_sum(maps: Tensor, size: int) -> Tensor:
    """Return the sum over `size` (odd) neighbouring maps, fewer at the first and last map."""
    total = maps.clone()
    for offset in range(1, size // 2 + 1):
        total[:, offset:] += maps[:, :-offset]
        total[:, :-offset] += maps[:, offset:]
    return total


def _power(divisor: Tensor, beta: float) -> Tensor:
    """Return divisor ** -beta in a new tensor; pow is several times as slow as two roots."""
    if beta != 0.75:
        return divisor.pow(-beta)
    root = divisor.rsqrt()
    return root.mul_(root.sqrt())


class WithinMapNorm(nn.Module):
    """Divide each unit by (k + alpha * sum of squares over a size x size patch of its map) ** beta.

    [N, C, H, W] -> [N, C, H, W]; beyond the edges the map counts as 0. alpha is per unit.
    Source: the second normalization of layer 2 in the 2012 source; the paper does not mention it.
    """

    def __init__(self, size: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.window = Window(size, padding=size // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized maps."""
        sums = F.avg_pool2d(maps.square(), self.size, 1, self.size // 2, divisor_override=1)
        return maps * _power(self.k + self.alpha * sums, self.beta)

    def extra_repr(self) -> str:
        """Return the constants for printing."""
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
