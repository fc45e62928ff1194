"""Settings of the summary."""

from dataclasses import dataclass

from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class SummaryConfig:
    """`cnnlab summary`."""

    model: ModelConfig
    in_channels: int | None = setting("channels of the input; null: the model's own", at_least=1)
    input_size_pixels: int | None = setting("side of the input; null: the model's own", at_least=1)
    num_classes: int | None = setting("classes; null: the model's own", at_least=2)
    format: str = setting("of the answer", choices=("text", "json"))
    plugins: list[str] = setting("Python modules that register models of your own")
