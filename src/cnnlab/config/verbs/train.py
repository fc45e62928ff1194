"""Settings of `cnnlab train`, and what of them fits with what."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.checks import check_augment, check_dataset, check_unicode
from cnnlab.config.data import AugmentConfig, DatasetConfig
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.config.models import FineTuningConfig, ModelConfig
from cnnlab.config.runtime import DistributedConfig, RuntimeConfig
from cnnlab.config.schema import parse, setting, settings_within, to_plain
from cnnlab.config.training import (
    EnsembleConfig,
    LoggingConfig,
    OneCycleScheduleConfig,
    OptimizerConfig,
    PlateauScheduleConfig,
    SavingConfig,
    ScheduleConfig,
    TrainerConfig,
)
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class TrainConfig:
    """`cnnlab train`."""

    seed: int = setting("of initialization, order, augmentation and dropout", at_least=0)
    model: ModelConfig
    fine_tuning: FineTuningConfig = settings_within("model")
    dataset: DatasetConfig
    augment: AugmentConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    ensemble: EnsembleConfig
    runtime: RuntimeConfig
    distributed: DistributedConfig
    saving: SavingConfig
    logging: LoggingConfig
    resume: str | None = setting("run folder or checkpoint to continue, or latest")
    allow_changes: list[str] = setting("settings that may differ from the run resumed")
    plugins: list[str] = setting("Python modules that register models of your own")


def parse_train(plain: dict[str, Any]) -> TrainConfig:
    """Check and type what `cnnlab train` was given."""
    stored = isinstance(plain.get("dataset"), dict) and plain["dataset"].get("name") == "checkpoint"
    if stored:
        raise UsageError("dataset=checkpoint is for evaluating", hint="name the set to train on")
    config = parse(TrainConfig, plain)
    check_training(config)
    return config


def check_training(config: TrainConfig) -> None:
    """Raise UsageError where parts of a TrainConfig contradict each other or have no effect."""
    check_unicode(to_plain(config))
    check_dataset(config.dataset)
    _check_normalization(config)
    check_augment(config.augment, config.dataset)
    _check_trainer(config.trainer)
    _check_schedule(config.schedule, config.trainer.epochs)
    _check_validation(config)


def _check_normalization(config: TrainConfig) -> None:
    """Raise UsageError where the checkpoint's normalization is asked for, and there is none."""
    if config.dataset.normalize == "checkpoint" and config.fine_tuning.weights is None:
        raise UsageError(
            "dataset.normalize=checkpoint needs the checkpoint",
            hint="model.weights=FILE, or dataset.normalize=channel",
        )


def _check_trainer(trainer: TrainerConfig) -> None:
    """Raise UsageError where a batch cannot be computed in that many parts."""
    if trainer.accumulate > trainer.batch_size:
        raise UsageError(
            f"trainer.accumulate={trainer.accumulate} parts of a batch of {trainer.batch_size} "
            "images",
            hint="keep trainer.accumulate at most trainer.batch_size",
        )


def _check_schedule(schedule: ScheduleConfig, epochs: int) -> None:
    """Raise UsageError where the warm-up lasts as long as the run."""
    warmup = getattr(schedule, "warmup_epochs", 0)
    if warmup and warmup >= epochs:
        raise UsageError(
            f"schedule.warmup_epochs={warmup:g} leaves nothing of trainer.epochs={epochs}",
            hint="shorten the warm-up or train longer",
        )
    if isinstance(schedule, OneCycleScheduleConfig) and (
        schedule.final_fraction > schedule.start_fraction
    ):
        raise UsageError(
            f"schedule.final_fraction={schedule.final_fraction:g} is above "
            f"schedule.start_fraction={schedule.start_fraction:g}",
            hint="one cycle ends at or below the rate it starts with",
        )


def _check_validation(config: TrainConfig) -> None:
    """Raise UsageError where something waits for a validation error that is never measured."""
    if config.dataset.num_validation > 0:
        return
    waiting = "trainer.early_stop_epochs" if config.trainer.early_stop_epochs else ""
    if isinstance(config.schedule, PlateauScheduleConfig):
        waiting = f"schedule={config.schedule.name}"
    if waiting:
        raise UsageError(
            f"{waiting} needs a validation error, and dataset.num_validation is 0",
            hint="hold images out with dataset.num_validation=500, for example",
        )
