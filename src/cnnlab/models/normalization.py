"""Local response normalization: across neighboring maps, and within one map."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.geometry import Window


class Constants(NamedTuple):
    """The constants of the normalization across maps; see LocalResponseNorm."""

    size: int
    alpha: float
    beta: float
    k: float
    groups: int


class Kernel(NamedTuple):
    """A way to compute the normalization across maps [N,C,H,W].

    normalize: (maps, constants) -> normalized maps. gradient: (maps, gradient for the normalized
    maps, constants) -> gradient for the maps. takes_half: half-precision maps need no widening.
    """

    normalize: Callable[[Tensor, Constants], Tensor]
    gradient: Callable[[Tensor, Tensor, Constants], Tensor]
    takes_half: bool = False


class LocalResponseNorm(nn.Module):
    """Divide each unit by (k + alpha * sum of squares over `size` neighboring maps) ** beta.

    [N, C, H, W] -> [N, C, H, W]. alpha is per unit, as the paper's formula has it; the 2012 source
    and torch.nn.LocalResponseNorm divide theirs by `size`, so they want size * this alpha.
    groups: towers; a window never reaches over the border between two of them. kernel: how it is
    computed (`kernels.use` chooses); torch.compile makes its own.
    Source: Krizhevsky et al. 2012, section 3.3.
    """

    def __init__(
        self, size: int, alpha: float, beta: float = 0.75, k: float = 2.0, groups: int = 1
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.groups = size, alpha, beta, k, groups
        self.kernel = PLAIN

    @property
    def constants(self) -> Constants:
        """What the kernels compute with."""
        return Constants(self.size, self.alpha, self.beta, self.k, self.groups)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized maps; half-precision input is normalized in float32."""
        wide = maps if self.kernel.takes_half else _widened(maps)
        if torch.compiler.is_compiling():
            towers = _by_tower(wide, self.groups)
            normalized = across_maps(towers, self.size, self.alpha, self.beta, self.k).flatten(1, 2)
        else:
            normalized = _AcrossMaps.apply(wide, self.constants, self.kernel)
        return normalized.to(maps.dtype)

    def extra_repr(self) -> str:
        """Return the constants for printing."""
        return (
            f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}, "
            f"k={self.k:g}, groups={self.groups}"
        )


def across_maps(maps: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return the normalization of [N, towers, C, H, W] as one expression.

    torch.compile fuses it with the ReLU before it and the layers after it, and chooses itself what
    to save for the backward pass.
    """
    num_maps, reach = maps.shape[2], size // 2
    squares = F.pad(maps.square(), (0, 0, 0, 0, reach, reach))
    total = squares[:, :, :num_maps]
    for first in range(1, size):
        total = total + squares[:, :, first : first + num_maps]
    return maps * _power(k + alpha * total, beta)


def alexnet_norm(normalization: str, groups: int = 1) -> LocalResponseNorm:
    """Return AlexNet's normalization over 5 maps: alpha 1e-4 per unit (paper), or a fifth (source).

    groups: towers.
    """
    alpha = 1e-4 if normalization == "paper" else 1e-4 / 5
    return LocalResponseNorm(5, alpha, groups=groups)


class _AcrossMaps(torch.autograd.Function):
    """The normalization of [N,C,H,W]; saves only its input for the backward pass."""

    @staticmethod
    def forward(maps: Tensor, constants: Constants, kernel: Kernel) -> Tensor:
        """Return x f with f = d^-beta, d = k + alpha W(x^2), W the sum over the window."""
        return kernel.normalize(maps, constants)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the input and the constants."""
        ctx.save_for_backward(inputs[0])
        ctx.constants, ctx.kernel = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return g f - 2 alpha beta x W(g f x / d): W is its own transpose."""
        (maps,) = ctx.saved_tensors
        return ctx.kernel.gradient(maps, gradients[0], ctx.constants), None, None


def _normalize(maps: Tensor, constants: Constants) -> Tensor:
    """Return the normalized maps, as operations of torch, chunk by chunk on a CPU."""
    size, alpha, beta, k, groups = constants
    output = torch.empty_like(maps)
    towers, target = _by_tower(maps, groups), _by_tower(output, groups)
    for part in _parts(towers):
        divisor = window_sum(towers[part].square(), size).mul_(alpha).add_(k)
        torch.mul(_power(divisor, beta), towers[part], out=target[part])
    return output


def _gradient(maps: Tensor, pull: Tensor, constants: Constants) -> Tensor:
    """Return the gradient for the maps in the same way; d and f are computed again."""
    size, alpha, beta, k, groups = constants
    output = torch.empty_like(maps)
    towers, target, pulls = (_by_tower(each, groups) for each in (maps, output, pull))
    for part in _parts(towers):
        divisor = window_sum(towers[part].square(), size).mul_(alpha).add_(k)
        scaled = _power(divisor, beta).mul_(pulls[part])
        shared = window_sum(divisor.reciprocal_().mul_(towers[part]).mul_(scaled), size)
        torch.mul(shared, towers[part], out=target[part]).mul_(-2 * alpha * beta).add_(scaled)
    return output


PLAIN = Kernel(_normalize, _gradient)
"""Runs on every device; what other kernels are compared with."""


def _by_tower(maps: Tensor, groups: int) -> Tensor:
    """Return [N,C,H,W] as [N,towers,C/towers,H,W]."""
    return maps.unflatten(1, (groups, -1))


CACHE_BYTES = 2**20
"""Size of a chunk on a CPU: ten passes over a chunk of this size stay in its cache."""


def _parts(maps: Tensor) -> list[slice]:
    """Return slices of the batch that fit a CPU's cache; a single slice on other devices."""
    if maps.device.type != "cpu" or len(maps) == 0:
        return [slice(None)]
    num_images = max(1, CACHE_BYTES // (maps[0].numel() * maps.element_size()))
    return [slice(i, i + num_images) for i in range(0, len(maps), num_images)]


def window_sum(maps: Tensor, size: int) -> Tensor:
    """Return the sum over `size` (odd) neighboring maps, fewer at the first and last map.

    maps: [..., C, H, W].
    """
    total = maps.clone()
    for offset in range(1, size // 2 + 1):
        # add_ and not +=, which copies each sum onto itself afterwards
        total[..., offset:, :, :].add_(maps[..., :-offset, :, :])
        total[..., :-offset, :, :].add_(maps[..., offset:, :, :])
    return total


def _widened(maps: Tensor) -> Tensor:
    """Return half-precision maps as float32: k plus a small sum would be rounded to k."""
    return maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps


def _power(divisor: Tensor, beta: float) -> Tensor:
    """Return divisor ** -beta in a new tensor; two roots are several times as fast as pow."""
    if beta != 0.75:
        return divisor.pow(-beta)
    root = divisor.rsqrt()
    return root * root.sqrt()


class WithinMapNorm(nn.Module):
    """Divide each unit by (k + alpha * sum of squares over a size x size patch of its map) ** beta.

    [N, C, H, W] -> [N, C, H, W]; beyond the edges the map is 0. alpha is per unit.
    Source: the second normalization of layer 2 in the 2012 source; the paper does not mention it.
    """

    def __init__(self, size: int, alpha: float, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.window = Window(size, padding=size // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalized maps; half-precision input is normalized in float32."""
        wide = _widened(maps)
        # Padding within pooling has wrong gradients on CUDA with channels last in torch from before
        # July 2026 (pytorch issue 188344).
        squares = F.pad(wide.square(), (self.size // 2,) * 4)
        sums = F.avg_pool2d(squares, self.size, 1, divisor_override=1)
        return (wide * _power(self.k + self.alpha * sums, self.beta)).to(maps.dtype)

    def extra_repr(self) -> str:
        """Return the constants for printing."""
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
