"""Settings of `cnnlab summary`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.data import DatasetConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class SummaryConfig:
    """`cnnlab summary`."""

    model: ModelConfig
    in_channels: int | None = setting("channels of the input; null: the model's own", at_least=1)
    input_size_pixels: int | None = setting("side of the input; null: the model's own", at_least=1)
    num_classes: int | None = setting("classes; null: the model's own", at_least=2)
    init_report: bool = setting("also show what the network makes of real images before training")
    dataset: DatasetConfig
    num_images: int = setting("training images that the report looks at", at_least=2)
    seed: int = setting("of initialization and of the images' choice", at_least=0)
    format: str = setting("of the answer", choices=("text", "json"))
    plugins: list[str] = setting("Python modules that register models of your own")


def parse_summary(plain: dict[str, Any]) -> SummaryConfig:
    """Check and type what `cnnlab summary` was given."""
    return parse(SummaryConfig, plain)
