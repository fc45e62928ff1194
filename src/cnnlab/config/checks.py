"""What fits with what: checks over several settings that no single range can say."""

from collections.abc import Collection
from typing import Any

from cnnlab.config.data import (
    AlexnetAugmentConfig,
    AugmentConfig,
    CropConfig,
    DatasetConfig,
)
from cnnlab.config.schema import to_plain
from cnnlab.config.training import OneCycleScheduleConfig, PlateauScheduleConfig, ScheduleConfig
from cnnlab.errors import UsageError


def check_dataset(dataset: DatasetConfig) -> None:
    """Raise UsageError where the border leaves no room for a picture."""
    border, side = 2 * dataset.pad_pixels, dataset.image_size_pixels
    if border >= side:
        raise UsageError(
            f"dataset.pad_pixels={dataset.pad_pixels} on both sides leaves nothing of an image of "
            f"{side} pixels",
            hint="keep 2 * dataset.pad_pixels below dataset.image_size_pixels",
        )


def is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8: a file name of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_unicode(value: Any, key: str = "") -> None:
    """Raise UsageError where a path or another text in `value` holds bytes that are not UTF-8.

    Such a run could be trained, but its checkpoints could not be read again.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            check_unicode(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            check_unicode(item, key)
    elif isinstance(value, str) and not is_unicode(value):
        raise UsageError(
            f"{key} holds bytes that are not UTF-8",
            value,
            "rename the folder, or name it by a link: ln -s FOLDER LINK",
        )


def check_augment(augment: AugmentConfig, dataset: DatasetConfig) -> None:
    """Raise UsageError where a crop is larger than what it is cut from, or lacks its mean."""
    if isinstance(augment, AlexnetAugmentConfig):
        _check_mean(augment, dataset)
    if not isinstance(augment, CropConfig) or augment.crop_pixels is None:
        return
    room = dataset.image_size_pixels + 2 * augment.padding_pixels
    if augment.crop_pixels > room:
        raise UsageError(
            f"augment.crop_pixels={augment.crop_pixels} does not fit into {room} pixels",
            "dataset.image_size_pixels + 2 * augment.padding_pixels",
        )


def _check_mean(augment: AlexnetAugmentConfig, dataset: DatasetConfig) -> None:
    wanted = [
        f"augment.{key}"
        for key, asked in (
            ("mean_position=cropped", augment.mean_position == "cropped"),
            ("color_divides=true", augment.color_divides),
        )
        if asked
    ]
    if wanted and dataset.normalize != "pixel":
        raise UsageError(
            f"{wanted[0]} needs the mean image",
            f"dataset.normalize={dataset.normalize}",
            "dataset.normalize=pixel subtracts it",
        )


TRAINING_ONLY = {
    "profile": "traces steps of training",
    "compile": "compiles the step of training",
}
"""Switches of the machine without effect on a command that only applies a network."""


def check_runtime(runtime: Any, refused: Collection[str] = tuple(TRAINING_ONLY)) -> None:
    """Raise UsageError where a command is asked for one of the switches that it has no use for."""
    for name in refused:
        if getattr(runtime, name):
            raise UsageError(
                f"runtime.{name}=true {TRAINING_ONLY[name]}",
                hint=f"cnnlab train runtime.{name}=true",
            )


def check_pictures(runtime: Any) -> None:
    """Raise UsageError for a precision that pictures are not drawn in."""
    if runtime.precision == "bf16":
        raise UsageError(
            "runtime.precision=bf16 is not for pictures: they are projected back in float32",
            hint="runtime.precision=fp32, or tf32 on a GPU",
        )


def check_training(config: Any) -> None:
    """Raise UsageError where parts of a TrainConfig contradict each other or have no effect."""
    check_unicode(to_plain(config))
    check_dataset(config.dataset)
    check_normalization(config)
    check_augment(config.augment, config.dataset)
    check_trainer(config.trainer)
    check_schedule(config.schedule, config.trainer.epochs)
    check_validation(config)


def check_normalization(config: Any) -> None:
    """Raise UsageError where the checkpoint's normalization is asked for, and there is none."""
    if config.dataset.normalize == "checkpoint" and config.fine_tuning.weights is None:
        raise UsageError(
            "dataset.normalize=checkpoint needs the checkpoint",
            hint="model.weights=FILE, or dataset.normalize=channel",
        )


def check_trainer(trainer: Any) -> None:
    """Raise UsageError where a batch cannot be computed in that many parts."""
    if trainer.accumulate > trainer.batch_size:
        raise UsageError(
            f"trainer.accumulate={trainer.accumulate} parts of a batch of {trainer.batch_size} "
            "images",
            hint="keep trainer.accumulate at most trainer.batch_size",
        )


def check_schedule(schedule: ScheduleConfig, epochs: int) -> None:
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


def check_validation(config: Any) -> None:
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
