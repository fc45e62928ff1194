"""Settings of `cnnlab prepare`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.checks import check_dataset
from cnnlab.config.data import DatasetConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class PrepareConfig:
    """`cnnlab prepare`."""

    dataset: DatasetConfig
    output: str | None = setting("folder that becomes the Store")
    encoding: str = setting("of the pixels on disk", choices=("uint8", "jpeg"))
    side_pixels: int | None = setting(
        "shorter side, then the central square; null: the dataset's size without its border",
        at_least=1,
    )
    kernel: str = setting("of the antialiased resize", choices=("bilinear", "bicubic"))
    quality: int = setting("of the JPEGs", at_least=1, at_most=100)
    on_bad: str = setting("a file that holds no image", choices=("fail", "skip"))
    max_bad_fraction: float = setting("skipped at most, of a split", at_least=0, at_most=1)
    max_image_pixels: int = setting("width x height above which a file is bad", at_least=1)
    shard_megabytes: int = setting("of pixels in one shard", at_least=1)
    num_threads: int | None = setting("that decode; null: all cores", at_least=1)
    wait_seconds: float = setting("for another preparation of the same output", at_least=0)
    verify: bool = setting("only compare every digest of `output`")


def parse_prepare(plain: dict[str, Any]) -> PrepareConfig:
    """Check and type what `cnnlab prepare` was given."""
    config = parse(PrepareConfig, plain)
    check_dataset(config.dataset)
    return config
