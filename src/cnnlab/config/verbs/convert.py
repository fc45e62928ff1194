"""Settings of `cnnlab convert`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.augment import AugmentConfig
from cnnlab.config.data import DatasetConfig
from cnnlab.config.ema import stored_weights
from cnnlab.config.models import ModelConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class ConvertConfig:
    """`cnnlab convert`; the suffix of the output selects its format."""

    source: str | None = setting(
        "cnnlab checkpoint, torchvision's AlexNet (.pth, .safetensors), or the word torchvision"
    )
    output: str | None = setting("file to write: .safetensors, .pth or .onnx; must not exist yet")
    which_weights: str | None = stored_weights()
    model: ModelConfig
    dataset: DatasetConfig
    augment: AugmentConfig
    class_names: str | None = setting(
        "text file with one class name per line; null: ImageNet's if there are 1000 classes"
    )
    plugins: list[str] = setting(OWN_MODULES)


def parse_convert(plain: dict[str, Any]) -> ConvertConfig:
    """Check and type what `cnnlab convert` was given."""
    return parse(ConvertConfig, plain)
