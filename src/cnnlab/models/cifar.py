"""The CIFAR-10 networks around the 2012 paper: locally connected layers, and figure 1's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.config.models import CifarLocalConfig, FourLayerConfig
from cnnlab.geometry import Window
from cnnlab.models.init import initialize, initialize_by_layer, normal
from cnnlab.models.layers import ACTIVATIONS, Conv2d, Linear, average_pool, max_pool
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.normalization import LocalResponseNorm
from cnnlab.models.sizes import check_sizes
from cnnlab.models.widths import scaled

POOL = Window(3, stride=2, ceil=True)


class LocallyConnected2d(nn.Module):
    """A convolution without weight sharing: each position has its own kernels.

    [N, C, S, S] -> [N, C', S', S']; `weight` [S' * S', C', C * K * K], positions row by row, and
    `bias` [C', S', S']; not initialized.
    """

    def __init__(self, in_channels: int, out_channels: int, window: Window, size: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.window = in_channels, out_channels, window
        self.out_size = window.output_size(size)
        inputs = in_channels * window.kernel**2
        shape = (self.out_size**2, out_channels, inputs)
        self.weight = nn.Parameter(torch.full(shape, float("nan")))
        biases = (out_channels, self.out_size, self.out_size)
        self.bias = nn.Parameter(torch.full(biases, float("nan")))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps, computed as one matrix product per position."""
        window, sides = self.window, self.bias.shape[1:]
        padded = F.pad(maps, (window.padding,) * 4)
        windows = padded.unfold(2, window.kernel, window.stride).unfold(
            3, window.kernel, window.stride
        )  # [N, C, S', S', K, K]

        # With channels last in both, memory is read in runs of C numbers.
        patches = windows.permute(2, 3, 0, 4, 5, 1).flatten(3).flatten(0, 1)
        weight = self.weight.unflatten(2, (self.in_channels, -1)).transpose(2, 3).flatten(2)
        bias = self.bias.flatten(1).t()[:, None]
        units = torch.baddbmm(bias, patches, weight.transpose(1, 2))  # [positions, N, C']

        return units.unflatten(0, sides).permute(2, 3, 0, 1)

    def num_multiply_adds(self, output: list[int]) -> int:
        """Return one per weight, as none is shared."""
        return self.weight.numel()

    def parameter_formula(self) -> str:
        """Return the lecture-style formula of the trainable numbers."""
        out, side, kernel = self.out_channels, self.out_size, self.window.kernel
        total = self.weight.numel() + self.bias.numel()
        return f"{side}²·({out}·{self.in_channels}·{kernel}² + {out}) = {total:,}"


def cifar_local(config: CifarLocalConfig, task: Task, generator: torch.Generator) -> Network:
    """Build conv 64@5x5, pool, conv 64@5x5, pool, two locally connected layers, scores.

    The 13 % network without normalization, the 11 % one with. Source: the layer files
    layers-conv-local-13pct and -11pct of the first cuda-convnet, and their cuda-convnet2 versions;
    weights N(0, 0.0001^2) in conv1, 0.01 in conv2 and the scores, 0.04 in the local layers.
    """
    convolution = Window(5, padding=2)
    windows = {"conv1": convolution, "pool1": POOL, "conv2": convolution, "pool2": POOL}
    size = check_sizes(config.name, task.input_size_pixels, windows)["pool2"]

    layers = [
        *_stage(config, 1, task.in_channels),
        *_stage(config, 2, 64),
        *_local_layers(config, size),
        Layer("flatten", "flatten", nn.Flatten()),
        Layer("fc", "fc", Linear(config.local_channels[-1] * size**2, task.num_classes)),
    ]
    network = Network(layers, task)

    deviations = {"conv1": 1e-4} | {
        layer.name: 0.04 for layer in layers if layer.name.startswith("local")
    }
    initialize_by_layer(
        network, lambda name: normal(deviations.get(name, 0.01)), lambda name: 0.0, generator
    )
    return network


def _stage(config: CifarLocalConfig, number: int, in_channels: int) -> list[Layer]:
    """Return convolution, ReLU and pooling, with normalization where `config` puts it."""
    layers = [
        Layer(f"conv{number}", "conv", Conv2d(in_channels, 64, Window(5, padding=2))),
        Layer(f"relu{number}", "rectifier", nn.ReLU()),
    ]
    pool = Layer(f"pool{number}", "pool", max_pool(POOL))
    if config.normalization == "none":
        return [*layers, pool]

    before = config.normalization == "before_pooling"
    size = 5 if before else 9
    norm = Layer(f"norm{number}", "norm", LocalResponseNorm(size, 1e-3 / size, k=1.0))
    return [*layers, norm, pool] if before or number == 2 else [*layers, pool, norm]


def _local_layers(config: CifarLocalConfig, size: int) -> list[Layer]:
    layers, in_channels = [], 64
    for number, channels in enumerate(config.local_channels, start=3):
        module = LocallyConnected2d(in_channels, channels, Window(3, padding=1), size)
        layers += [
            Layer(f"local{number}", "local", module),
            Layer(f"relu{number}", "rectifier", nn.ReLU()),
        ]
        in_channels = channels
    return layers


def four_layer(config: FourLayerConfig, task: Task, generator: torch.Generator) -> Network:
    """Build a four-layer convolutional network to compare activations with, as in figure 1.

    Layers: conv 32@5x5, max pool, conv 32@5x5, mean pool, conv 64@5x5, mean pool, scores.
    Departure: the paper says only "four-layer convolutional network"; the layers are cnnlab's.
    """
    convolution = Window(5, padding=2)
    windows = {
        f"{kind}{n}": w for n in (1, 2, 3) for kind, w in (("conv", convolution), ("pool", POOL))
    }
    size = check_sizes(config.name, task.input_size_pixels, windows)["pool3"]

    role, activation = ACTIVATIONS[config.activation]
    layers, in_channels = [], task.in_channels
    for number, channels in enumerate((32, 32, 64), start=1):
        channels = scaled(channels, config.width)
        pool = max_pool(POOL) if number == 1 else average_pool(POOL)
        layers += [
            Layer(f"conv{number}", "conv", Conv2d(in_channels, channels, convolution)),
            Layer(f"{config.activation}{number}", role, activation()),
            Layer(f"pool{number}", "pool", pool),
        ]
        in_channels = channels

    layers.append(Layer("flatten", "flatten", nn.Flatten()))
    layers.append(Layer("fc", "fc", Linear(in_channels * size**2, task.num_classes)))

    network = Network(layers, task)
    initialize(network, config.initialization, generator)
    return network
