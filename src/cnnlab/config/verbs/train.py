"""Settings of `cnnlab train`, and checks of their combinations."""

from dataclasses import dataclass
from typing import Any

from cnnlab.config.augment import AugmentConfig
from cnnlab.config.bounds import MOST_SEED
from cnnlab.config.checks import check_augment, check_dataset, check_kernels, check_unicode
from cnnlab.config.data import DatasetConfig
from cnnlab.config.distributed import DistributedConfig, check_distributed
from cnnlab.config.ema import EmaConfig, check_ema, judged_weights
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.config.loss import LossConfig, check_loss
from cnnlab.config.models import FineTuningConfig, ModelConfig
from cnnlab.config.own_parts import OWN_MODULES
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schedules import OneCycleScheduleConfig, PlateauScheduleConfig, ScheduleConfig
from cnnlab.config.schema import flat, parse, setting, settings_within, to_plain
from cnnlab.config.training import (
    EnsembleConfig,
    LoggingConfig,
    OptimizerConfig,
    SavingConfig,
    TrainerConfig,
)
from cnnlab.config.writers import WriterConfig
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class TrainConfig:
    """`cnnlab train`."""

    seed: int = setting(
        "seed of initialization, data order, augmentation and dropout",
        at_least=0,
        at_most=MOST_SEED,
    )
    model: ModelConfig
    fine_tuning: FineTuningConfig = settings_within("model")
    dataset: DatasetConfig
    augment: AugmentConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    ema: EmaConfig
    which_weights: str = judged_weights()
    evaluation: EvaluationConfig
    ensemble: EnsembleConfig
    runtime: RuntimeConfig
    distributed: DistributedConfig
    saving: SavingConfig
    logging: LoggingConfig
    writer: WriterConfig
    resume: str | None = setting("run folder or checkpoint to resume, or latest")
    allow_changes: list[str] = setting("settings that may differ from those of the resumed run")
    plugins: list[str] = setting(OWN_MODULES)


def parse_train(plain: dict[str, Any]) -> TrainConfig:
    """Check and type what `cnnlab train` was given."""
    dataset = plain.get("dataset")
    if isinstance(dataset, dict) and dataset.get("name") == "checkpoint":
        raise UsageError("dataset=checkpoint is for evaluation", hint="name a data set to train on")
    config = parse(TrainConfig, plain)
    check_training(config)
    return config


def check_training(config: TrainConfig) -> None:
    """Raise UsageError if settings contradict each other or have no effect."""
    check_unicode(to_plain(config))
    check_dataset(config.dataset)
    _check_normalization(config)
    check_augment(config.augment, config.dataset)
    check_loss(config.loss, config.model)
    _check_trainer(config.trainer)
    check_kernels(config.runtime, config.trainer, config.loss, config.distributed)
    check_ema(config.ema, config.which_weights)
    check_distributed(
        config.distributed,
        config.trainer,
        config.optimizer,
        compiles=config.runtime.compile,
        weighs_classes=config.loss.weighs_classes,
    )
    _check_schedule(config.schedule, config.trainer.epochs)
    _check_trial(config)
    _check_validation(config)


def _check_normalization(config: TrainConfig) -> None:
    """Raise UsageError if the normalization of a checkpoint is asked for, and there is none."""
    if config.dataset.normalize == "checkpoint" and config.fine_tuning.weights is None:
        raise UsageError(
            "dataset.normalize=checkpoint needs a checkpoint",
            hint="model.weights=FILE, or dataset.normalize=channel",
        )


def _check_trainer(trainer: TrainerConfig) -> None:
    """Raise UsageError if a batch has fewer images than parts."""
    if trainer.accumulate > trainer.batch_size:
        raise UsageError(
            f"trainer.accumulate={trainer.accumulate} exceeds "
            f"trainer.batch_size={trainer.batch_size}",
            hint="keep trainer.accumulate at most trainer.batch_size",
        )


def _check_schedule(schedule: ScheduleConfig, epochs: int) -> None:
    """Raise UsageError if the warm-up lasts as long as the run, or one cycle ends too high."""
    warmup = getattr(schedule, "warmup_epochs", 0)
    if warmup and warmup >= epochs:
        raise UsageError(
            f"schedule.warmup_epochs={warmup:g} is not shorter than trainer.epochs={epochs}",
            hint="shorten the warm-up or train longer",
        )

    if isinstance(schedule, OneCycleScheduleConfig) and (
        schedule.final_fraction > schedule.start_fraction
    ):
        raise UsageError(
            f"schedule.final_fraction={schedule.final_fraction:g} is above "
            f"schedule.start_fraction={schedule.start_fraction:g}",
            hint="one cycle must not end above the learning rate it starts with",
        )


IDLE_IN_A_TRIAL: dict[str, Any] = {"trainer.early_stop_epochs": None, "ensemble.members": 1}
"""Settings that use the network of a run, each with the value at which they do not."""


def _check_trial(config: TrainConfig) -> None:
    """Raise UsageError for a setting that would use the network of a run which only tries rates."""
    values = flat(to_plain(config))
    asked = [key for key, idle in IDLE_IN_A_TRIAL.items() if values[key] != idle]
    if config.schedule.is_trial and asked:
        schedule = config.schedule.name
        raise UsageError(
            f"{asked[0]} has no effect with schedule={schedule}, which tests no network",
            hint="leave it out",
        )


def _check_validation(config: TrainConfig) -> None:
    """Raise UsageError if a setting needs a validation error, and no images are held out."""
    if config.dataset.num_validation > 0:
        return

    waiting = "trainer.early_stop_epochs" if config.trainer.early_stop_epochs else ""
    if isinstance(config.schedule, PlateauScheduleConfig):
        waiting = f"schedule={config.schedule.name}"

    if waiting:
        raise UsageError(
            f"{waiting} needs a validation error, and dataset.num_validation is 0",
            hint="hold out images, for example dataset.num_validation=500",
        )
