"""Checks that several commands share, over settings that no single range can check."""

from collections.abc import Collection, Sequence
from typing import Any

from cnnlab.config.augment import AlexnetAugmentConfig, AugmentConfig, CropConfig
from cnnlab.config.data import DatasetConfig
from cnnlab.config.distributed import DistributedConfig
from cnnlab.config.loss import LossConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.training import TrainerConfig
from cnnlab.errors import UsageError


def check_dataset(dataset: DatasetConfig) -> None:
    """Raise UsageError if the border leaves no room for an image."""
    border, side = 2 * dataset.pad_pixels, dataset.image_size_pixels
    if border >= side:
        raise UsageError(
            f"dataset.pad_pixels={dataset.pad_pixels} on both sides leaves no pixels of an image"
            f" of {side} pixels",
            hint="keep 2 * dataset.pad_pixels below dataset.image_size_pixels",
        )


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8; names of files need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_unicode(value: Any, key: str = "") -> None:
    """Raise UsageError if a path or another text in `value` is not valid UTF-8.

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
            f"{key} is not valid UTF-8",
            value,
            "rename the folder, or use a symbolic link: ln -s FOLDER LINK",
        )


def check_augment(augment: AugmentConfig, dataset: DatasetConfig) -> None:
    """Raise UsageError if a crop is larger than its image, or lacks the mean image it needs."""
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
    if augment.color_epochs is not None and augment.color_scale == "none":
        raise UsageError(
            f"augment.color_epochs={augment.color_epochs} has no effect",
            "augment.color_scale=none",
            "leave it out, or set augment.color_scale=stdev",
        )

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
    "capture": "captures the step of training",
    "fused_update": "is about the updates of training",
    "fast_evaluation": "is about the evaluations of a training",
}
"""Settings of `runtime` without effect on commands that do not train."""


def check_runtime(runtime: RuntimeConfig, refused: Collection[str] = tuple(TRAINING_ONLY)) -> None:
    """Raise UsageError for a setting of `runtime` that has no effect on a command."""
    for name in refused:
        if getattr(runtime, name) is True:  # auto, the default of some, asks for nothing
            word = f"runtime.{name}=true"
            raise UsageError(f"{word} {TRAINING_ONLY[name]}", hint=f"cnnlab train {word}")


def why_not_captured(
    runtime: RuntimeConfig,
    trainer: TrainerConfig,
    loss: LossConfig,
    distributed: DistributedConfig,
) -> str | None:
    """Return which setting keeps a training step from being captured, and why; None: none."""
    in_turn = bool(distributed.simulate or distributed.fc_batch)
    for other, is_chosen, why in (
        ("runtime.compile=true", runtime.compile, "a compiled step was not captured so far"),
        ("trainer.accumulate above 1", trainer.accumulate > 1, "each part has its own dropout"),
        ("loss.class_weights", loss.weighs_classes, "each batch has its own divisor"),
        ("distributed.simulate or fc_batch", in_turn, "their step has several passes"),
    ):
        if is_chosen:
            return f"{other}: {why}"
    return None


def check_kernels(
    runtime: RuntimeConfig,
    trainer: TrainerConfig,
    loss: LossConfig,
    distributed: DistributedConfig,
) -> None:
    """Raise UsageError for ways to compute a step that exclude each other."""
    why = why_not_captured(runtime, trainer, loss, distributed)
    if runtime.capture is True and why is not None:
        raise UsageError(
            f"runtime.capture=true does not go with {why}",
            hint="leave out one; runtime.capture=auto leaves out the capture",
        )

    if runtime.compile and runtime.kernels == "triton":
        raise UsageError(
            "runtime.kernels=triton has no effect with runtime.compile=true, which makes kernels "
            "of its own",
            hint="leave out one",
        )


def refuse_empty(given: Sequence[object], key: str, hint: str) -> None:
    """Raise UsageError if a required list is empty."""
    if not given:
        raise UsageError(f"{key} is missing", hint=hint)
