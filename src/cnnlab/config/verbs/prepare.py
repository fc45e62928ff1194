"""Settings of `cnnlab prepare`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY, MOST_PIXELS, MOST_THREADS
from cnnlab.config.checks import check_dataset
from cnnlab.config.data import DatasetConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class PrepareConfig:
    """`cnnlab prepare`."""

    dataset: DatasetConfig
    output: str | None = setting("folder of the new Store")
    encoding: str = setting("pixel encoding on disk", choices=("uint8", "jpeg"))
    side_pixels: int | None = setting(
        "resize the shorter side to this, then crop the central square; null: image_size_pixels "
        "without the border",
        at_least=1,
        at_most=MOST_PIXELS,
    )
    kernel: str = setting("filter of the antialiased resize", choices=("bilinear", "bicubic"))
    quality: int = setting("JPEG quality", at_least=1, at_most=100)
    on_bad: str = setting(
        "files without a usable image: list them all and stop (fail), or skip and record them",
        choices=("fail", "skip"),
    )
    max_bad_fraction: float = setting("maximum fraction of a split to skip", at_least=0, at_most=1)
    max_image_pixels: int = setting(
        "width x height above which a file is unusable", at_least=1, at_most=MANY
    )
    shard_megabytes: int = setting("megabytes of pixels per shard", at_least=1, at_most=1_000_000)
    num_threads: int | None = setting(
        "decoding threads; null: one per core", at_least=1, at_most=MOST_THREADS
    )
    wait_seconds: float = setting(
        "seconds to wait for another process that prepares the same output",
        at_least=0,
        at_most=MANY,
    )
    verify: bool = setting("only verify the digests of an existing output")
    plugins: list[str] = setting(OWN_MODULES)


def parse_prepare(plain: dict[str, Any]) -> PrepareConfig:
    """Check and type what `cnnlab prepare` was given."""
    config = parse(PrepareConfig, plain)
    check_dataset(config.dataset)
    return config
