"""The networks that the page must compute: narrow, and with weights that leave no layer silent."""

from typing import Any

import torch

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.models import Network

NETWORKS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "linear": ("linear", 3, 8, {}),
    "mlp": ("mlp", 1, 8, {"hidden_units": [12, 9], "dropout": 0.5}),
    "lenet5": ("lenet5", 1, 32, {}),
    "lenet5_textbook": ("lenet5", 1, 28, {"activation": "sigmoid", "pooling": "average"}),
    "lenet5_1998": ("lenet5_1998", 1, 32, {}),
    "four_layer": ("four_layer", 3, 32, {"activation": "tanh"}),
    "cifar_13pct": ("cifar_13pct", 3, 24, {"local_channels": [3, 4]}),
    "cifar_11pct": ("cifar_11pct", 3, 24, {"local_channels": [3, 4]}),
    "cifar_after": (
        "cifar_11pct",
        1,
        24,
        {"normalization": "after_pooling", "local_channels": [4]},
    ),
    "alexnet": ("alexnet", 1, 64, {"width": 0.0625}),
    "alexnet_source": (
        "alexnet",
        3,
        64,
        {"width": 0.0625, "normalization": "source", "order": "source"},
    ),
    "alexnet_batch": ("alexnet", 1, 64, {"width": 0.0625, "normalization": "batch"}),
    "alexnet_two_tower": ("alexnet_two_tower", 3, 64, {"width": 0.0625}),
    "alexnet_apart": ("alexnet_two_tower", 1, 64, {"width": 0.0625, "exchange": "none"}),
    "alexnet_2014": ("alexnet_2014", 3, 64, {"width": 0.0625}),
    "alexnet_cifar": ("alexnet_cifar", 3, 32, {"width": 0.0625}),
    "zfnet": ("zfnet", 3, 64, {"width": 0.0625}),
}
"""Name -> (model, channels, side in pixels, settings)."""


def built(name: str) -> Network:
    """Return the network in eval mode; each sum is large enough that every layer matters."""
    model, channels, side, settings = NETWORKS[name]
    config = parse(ModelConfig, choices.alone("model", model) | settings, "model")
    network = models.build(
        config, in_channels=channels, input_size_pixels=side, num_classes=10, seed=1
    ).eval()

    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for kind, values in network.state_dict().items():
            if kind.endswith(("running_mean", "bias")):
                values.copy_(0.1 * torch.randn(values.shape, generator=generator))
            elif kind.endswith("running_var"):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
            elif values.is_floating_point() and "bitmaps" not in kind and values.dim() > 1:
                fan_in = values[0].numel() if "local" not in kind else values.shape[-1]
                values.copy_(torch.randn(values.shape, generator=generator) * (2 / fan_in) ** 0.5)
    return network


def pictures(network: Network, count: int, seed: int = 0) -> torch.Tensor:
    """Return smooth random inputs, float [count,C,S,S], as a normalization would make them."""
    generator = torch.Generator().manual_seed(seed)
    side = network.input_size_pixels // 4
    shape = (count, network.in_channels, side, side)
    coarse = torch.randn(shape, generator=generator)
    return torch.nn.functional.interpolate(
        coarse, scale_factor=4, mode="bilinear", align_corners=False
    )
