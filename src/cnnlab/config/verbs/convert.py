"""Settings of `cnnlab convert`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.data import AugmentConfig, DatasetConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class ConvertConfig:
    """`cnnlab convert`: foreign weights in, cnnlab's out; the output's ending says what it is."""

    source: str | None = setting(
        "file of torchvision's AlexNet (torch, safetensors), torchvision, or a cnnlab checkpoint"
    )
    output: str | None = setting("file to write: .safetensors, .pth or .onnx; must not exist yet")
    model: ModelConfig
    dataset: DatasetConfig
    augment: AugmentConfig
    class_names: str | None = setting(
        "text file with a class name a line; null: ImageNet's where there are 1000 classes"
    )
    plugins: list[str] = setting("Python modules that register models of your own")


def parse_convert(plain: dict[str, Any]) -> ConvertConfig:
    """Check and type what `cnnlab convert` was given."""
    return parse(ConvertConfig, plain)
