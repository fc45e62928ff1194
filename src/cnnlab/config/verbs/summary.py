"""Settings of `cnnlab summary`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MOST_PIXELS, MOST_SEED
from cnnlab.config.data import DatasetConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class SummaryConfig:
    """`cnnlab summary`."""

    model: ModelConfig
    in_channels: int | None = setting(
        "input channels; null: as published", at_least=1, at_most=65_536
    )
    input_size_pixels: int | None = setting(
        "input side; null: as published", at_least=1, at_most=MOST_PIXELS
    )
    num_classes: int | None = setting(
        "number of classes; null: as published", at_least=2, at_most=1_000_000
    )
    init_report: bool = setting("also show activation statistics on real images before training")
    dataset: DatasetConfig
    num_images: int = setting("training images for init_report", at_least=2, at_most=1_000_000)
    seed: int = setting(
        "seed of initialization and of the choice of images", at_least=0, at_most=MOST_SEED
    )
    format: str = setting("output format", choices=("text", "json"))
    plugins: list[str] = setting("Python modules to import, which register models of your own")


def parse_summary(plain: dict[str, Any]) -> SummaryConfig:
    """Check and type what `cnnlab summary` was given."""
    return parse(SummaryConfig, plain)
