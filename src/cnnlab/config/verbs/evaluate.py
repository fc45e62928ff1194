"""Settings of `cnnlab evaluate`."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.bounds import MANY, MOST_FLOAT32
from cnnlab.config.checks import check_dataset, check_runtime, refuse_empty
from cnnlab.config.data import DatasetConfig, StoredDatasetConfig
from cnnlab.config.ema import stored_weights
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse, setting


@dataclass(kw_only=True)
class EvaluateConfig:
    """`cnnlab evaluate`."""

    checkpoint: list[str] = setting("checkpoints, run folders or latest; several: an ensemble")
    dataset: DatasetConfig | StoredDatasetConfig
    split: str = setting("split to evaluate on", choices=("test", "validation", "train"))
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    weights: list[float] | None = setting(
        "weights of the checkpoints in the average; null: equal",
        at_least=0,
        at_most=MOST_FLOAT32,
    )
    which_weights: str | None = stored_weights()
    batch_size: int = setting("images per batch", at_least=1, at_most=MANY)
    save_probabilities: bool = setting("save the probabilities of every image, per member and view")
    output: str | None = setting(
        "folder for report, results and probabilities; null: the run folder"
    )
    format: str = setting("output format", choices=("text", "json"))
    plugins: list[str] = setting(OWN_MODULES)


def parse_evaluate(plain: dict[str, Any]) -> EvaluateConfig:
    """Check and type what `cnnlab evaluate` was given."""
    config = parse(EvaluateConfig, plain)
    check_runtime(config.runtime)
    refuse_empty(config.checkpoint, "checkpoint", "checkpoint=PATH, a run folder, or latest")
    if isinstance(config.dataset, DatasetConfig):
        check_dataset(config.dataset)
    return config
