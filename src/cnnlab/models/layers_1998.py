"""The layers of the 1998 network that have no counterpart in torch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.geometry import Window
from cnnlab.models.bitmaps import HEIGHT, WIDTH, digit_bitmaps

AMPLITUDE, SLOPE = 1.7159, 2 / 3


class ScaledTanh(nn.Module):
    """f(a) = A tanh(S a) with A = 1.7159, S = 2/3: f(1) = 1, f(-1) = -1, curved most at these two.

    Source: LeCun et al. 1998, equation 6 and appendix A.
    """

    def forward(self, sums: Tensor) -> Tensor:
        """Return the squashed sums."""
        return AMPLITUDE * torch.tanh(SLOPE * sums)

    @staticmethod
    def slope_at(values: Tensor) -> Tensor:
        """Return f'(a) from the values f(a)."""
        return SLOPE * (AMPLITUDE - values.square() / AMPLITUDE)


class Subsample(nn.Module):
    """Add up the four inputs of each 2x2 block, times one coefficient, plus one bias per map.

    [N, C, H, W] -> [N, C, H/2, W/2]; 2 C trainable numbers, not initialized.
    Source: LeCun et al. 1998, section II.B, layers S2 and S4.
    """

    window = Window(2, stride=2)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float("nan")))
        self.bias = nn.Parameter(torch.full((channels,), float("nan")))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the subsampled maps."""
        return self.sums(maps) * self.weight[:, None, None] + self.bias[:, None, None]

    @staticmethod
    def sums(maps: Tensor) -> Tensor:
        """Return the sum of each block."""
        return F.avg_pool2d(maps, 2, divisor_override=1)

    def num_multiply_adds(self, output: list[int]) -> int:
        """Return one per unit: the additions of the block come first."""
        return output[0] * output[1] * output[2]

    def parameter_formula(self) -> str:
        """Return the lecture-style formula of the trainable numbers."""
        channels = len(self.weight)
        return f"{channels} + {channels} = {2 * channels}"


CONNECTIONS: tuple[tuple[int, ...], ...] = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
"""The maps of S2 that each of C3's 16 maps sees. Source: LeCun et al. 1998, table I."""


class TableConv2d(nn.Module):
    """A convolution whose maps see only the input maps that a table names.

    [N, C, H, W] -> [N, len(connections), H', W']. `weight` [connections, K, K] has one kernel per
    connection and there is one bias per map; not initialized. Computed as a dense convolution with
    zeros elsewhere.
    """

    def __init__(self, connections: tuple[tuple[int, ...], ...], window: Window) -> None:
        super().__init__()
        self.connections, self.window = connections, window
        self.in_channels = 1 + max(max(seen) for seen in connections)
        links = [(target, source) for target, seen in enumerate(connections) for source in seen]
        shape = (len(links), window.kernel, window.kernel)
        self.weight = nn.Parameter(torch.full(shape, float("nan")))
        self.bias = nn.Parameter(torch.full((len(connections),), float("nan")))
        targets, sources = torch.tensor(links).T
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("sources", sources, persistent=False)

    targets: Tensor
    sources: Tensor

    def dense(self, weight: Tensor) -> Tensor:
        """Return the dense kernels [maps, C, K, K], 0 where the table has no connection."""
        empty = weight.new_zeros(len(self.connections), self.in_channels, *weight.shape[1:])
        return empty.index_put((self.targets, self.sources), weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolved maps."""
        return F.conv2d(maps, self.dense(self.weight), self.bias)

    def num_multiply_adds(self, output: list[int]) -> int:
        """Return one per connection, kernel entry and position."""
        return self.weight.numel() * output[1] * output[2]

    def parameter_formula(self) -> str:
        """Return the lecture-style formula of the trainable numbers."""
        total = self.weight.numel() + len(self.bias)
        return f"{len(self.weight)}·{self.window.kernel}² + {len(self.bias)} = {total:,}"


class RbfOutput(nn.Module):
    """Score a class by how close F6 is to its bitmap: minus the squared Euclidean distance.

    [N, 84] -> [N, 10]. The paper's units return the distance as a penalty; here larger is better.
    The bitmaps are fixed. Source: LeCun et al. 1998, equation 7 and figure 3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bitmaps", digit_bitmaps())

    bitmaps: Tensor

    def forward(self, units: Tensor) -> Tensor:
        """Return -|h - w|^2 = 2 h w - |h|^2 - |w|^2; half precision is widened to float32."""
        wide = units.float() if units.dtype in (torch.float16, torch.bfloat16) else units
        bitmaps = self.bitmaps.to(wide.dtype)
        with torch.autocast(units.device.type, enabled=False):
            products = wide @ bitmaps.T
        return 2 * products - wide.square().sum(1, keepdim=True) - WIDTH * HEIGHT

    def num_multiply_adds(self, output: list[int]) -> int:
        """Return one per bitmap entry."""
        return self.bitmaps.numel()
