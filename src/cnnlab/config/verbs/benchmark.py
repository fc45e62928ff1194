"""Settings of `cnnlab benchmark`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY
from cnnlab.config.checks import check_runtime
from cnnlab.config.schema import parse, setting
from cnnlab.config.verbs.train import TrainConfig, check_training


@dataclass(kw_only=True)
class BenchmarkConfig(TrainConfig):
    """`cnnlab benchmark`: the training to measure, and for how long."""

    seconds_per_part: float = setting("seconds to measure each part", above=0, at_most=MANY)
    format: str = setting("output format", choices=("text", "json"))


def parse_benchmark(plain: dict[str, Any]) -> BenchmarkConfig:
    """Check and type what `cnnlab benchmark` was given."""
    config = parse(BenchmarkConfig, plain)
    check_runtime(config.runtime, refused=["profile"])
    check_training(config)
    return config
