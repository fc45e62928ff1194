"""Settings of `cnnlab summary`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY, MOST_PIXELS, MOST_SEED
from cnnlab.config.data import DatasetConfig
from cnnlab.config.distributed import MOST_WORKERS
from cnnlab.config.models import ModelConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError

LAYERS = ("conv", "pool", "fc")
"""Layers whose figures are computed without a network."""

NEEDED = {
    "conv": ("size", "kernel"),
    "pool": ("size", "kernel"),
    "fc": ("in_features", "out_features"),
}
"""Layer -> what must be known of it."""

EXAMPLES = {
    "conv": "layer=conv size=224 kernel=11 stride=4 padding=2",
    "pool": "layer=pool size=55 kernel=3 stride=2",
    "fc": "layer=fc in_features=9216 out_features=4096",
}

MOST_FEATURES = 1_000_000_000


@dataclass(kw_only=True)
class SummaryConfig:
    """`cnnlab summary`."""

    model: ModelConfig
    layer: str | None = setting(
        "compute the figures of one layer, without a network; null: print the model's table",
        choices=LAYERS,
    )
    size: int | None = setting(
        "input height and width of a layer, pixels", at_least=1, at_most=MOST_PIXELS
    )
    kernel: int | None = setting(
        "K: height and width of the kernel, pixels", at_least=1, at_most=MOST_PIXELS
    )
    stride: int | None = setting(
        "S: pixels from one position to the next; null: 1, and the kernel's side for pooling",
        at_least=1,
        at_most=MOST_PIXELS,
    )
    padding: int = setting("P: pixels added at each border", at_least=0, at_most=MOST_PIXELS)
    dilation: int = setting(
        "D: pixels from one entry of the kernel to the next", at_least=1, at_most=MOST_PIXELS
    )
    ceil: bool = setting("round the output size up, as in the 2012 source; the lecture rounds down")
    out_channels: int | None = setting(
        "output channels of a convolution; null: parameters are not counted",
        at_least=1,
        at_most=65_536,
    )
    in_features: int | None = setting(
        "N: inputs of a fully connected layer", at_least=1, at_most=MOST_FEATURES
    )
    out_features: int | None = setting(
        "M: outputs of a fully connected layer", at_least=1, at_most=MOST_FEATURES
    )
    in_channels: int | None = setting(
        "input channels; null: of a model, as published; of a layer, not given",
        at_least=1,
        at_most=65_536,
    )
    input_size_pixels: int | None = setting(
        "input side; null: as published", at_least=1, at_most=MOST_PIXELS
    )
    num_classes: int | None = setting(
        "number of classes; null: as published", at_least=2, at_most=1_000_000
    )
    init_report: bool = setting("also show activation statistics on real images before training")
    communication: int | None = setting(
        "also show what so many workers send for one update: data parallel, and the hybrid schemes "
        "of 2014",
        at_least=2,
        at_most=MOST_WORKERS,
    )
    images_per_worker: int = setting(
        "images of each worker in an update, 128 in the paper", at_least=1, at_most=MANY
    )
    dataset: DatasetConfig
    num_images: int = setting("training images for init_report", at_least=2, at_most=1_000_000)
    seed: int = setting(
        "seed of initialization and of the choice of images", at_least=0, at_most=MOST_SEED
    )
    format: str = setting("output format", choices=("text", "json"))
    plugins: list[str] = setting(OWN_MODULES)


def parse_summary(plain: dict[str, Any]) -> SummaryConfig:
    """Check and type what `cnnlab summary` was given."""
    config = parse(SummaryConfig, plain)
    if config.layer is not None:
        _check_layer(config, config.layer)
    return config


def _check_layer(config: SummaryConfig, layer: str) -> None:
    """Raise UsageError if a layer's figures cannot be computed from what was given."""
    missing = [key for key in NEEDED[layer] if getattr(config, key) is None]
    if missing:
        raise UsageError(f"layer={layer} needs {' and '.join(missing)}", hint=EXAMPLES[layer])

    if layer == "conv" and (config.in_channels is None) != (config.out_channels is None):
        raise UsageError(
            "in_channels and out_channels belong together: parameters need both",
            hint="in_channels=3 out_channels=64, or neither",
        )

    if layer == "pool" and 2 * config.padding > (config.kernel or 0):
        raise UsageError(
            f"padding={config.padding} is more than half of kernel={config.kernel}: "
            "a window could lie outside the map",
            hint="pad less, as torch demands of pooling",
        )
