"""Every setting of cnnlab: one dataclass a config group choice, one a verb, and their cross-checks.

Values live in configs/; types, units, ranges and what fits with what live here. A group with
several shapes (model, dataset, augment, optimizer, schedule) is a table from its `name` to a
dataclass, so a key that has no effect in a choice does not exist there.
"""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.data import AUGMENTS, DATASETS, AugmentConfig, DatasetConfig
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.config.schema import setting
from cnnlab.config.surroundings import EvaluationConfig, LoggingConfig, RuntimeConfig
from cnnlab.config.training import (
    OPTIMIZERS,
    SCHEDULES,
    OptimizerConfig,
    SavingConfig,
    ScheduleConfig,
    TrainerConfig,
)

VARIANTS: dict[type, dict[str, Any]] = {
    ModelConfig: MODELS,
    DatasetConfig: DATASETS,
    AugmentConfig: AUGMENTS,
    OptimizerConfig: OPTIMIZERS,
    ScheduleConfig: SCHEDULES,
}
"""The groups whose shape depends on their `name`."""


@dataclass(kw_only=True)
class TrainConfig:
    """`cnnlab train`."""

    seed: int = setting("of initialization, order, augmentation and dropout", at_least=0)
    model: ModelConfig
    dataset: DatasetConfig
    augment: AugmentConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    saving: SavingConfig
    logging: LoggingConfig
    resume: str | None = setting("run folder to continue, or latest")
    plugins: list[str] = setting("Python modules that register models of your own")


@dataclass(kw_only=True)
class EvaluateConfig:
    """`cnnlab evaluate`."""

    checkpoint: list[str] = setting("checkpoints, run folders, or latest; several: an ensemble")
    dataset: dict[str, Any] | None = None
    split: str = setting("images to test on", choices=("test", "validation", "train"))
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    batch_size: int = setting("images at once", at_least=1)
    format: str = setting("of the answer", choices=("text", "json"))
    plugins: list[str] = setting("Python modules that register models of your own")
