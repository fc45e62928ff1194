"""Fine-tuning: `model.weights` read, and the settings of the run fitted to what they were made for.

The network sees the new images as it saw its own: channels, size, border, mean and standard
deviation come from the checkpoint, and crops have the size of its input. They enter the run's
config, so that the checkpoint is not needed again. What was typed (`dataset.normalize=channel`)
stays as typed. Which layers take which weights is decided in `models/transfer.py`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from cnnlab import checkpoint, run_folder, stored_weights
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig, check_training
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.data import DatasetConfig
from cnnlab.config.ema import EMA, RAW
from cnnlab.config.models import FineTuningConfig, ModelConfig
from cnnlab.conversion import foreign_weights, plain_weights
from cnnlab.data.stats import preprocessing_for
from cnnlab.data.store import Store
from cnnlab.distributed import Peers
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.evaluation.classes import match_classes
from cnnlab.files import foreign
from cnnlab.models import Network, transfer
from cnnlab.models.transfer import Pretrained
from cnnlab.preprocessing import Preprocessing
from cnnlab.safe_output import escape_control
from cnnlab.trainer import processes

Config = TypeVar("Config", bound=TrainConfig)


@dataclass(frozen=True)
class StartingWeights:
    """The checkpoint that training starts from. model: the name of its network.

    unwrapped: what was around the weights in a file of another program, '' for nothing.
    which_weights: raw, or ema for their moving average.
    """

    path: Path
    checkpoint: Checkpoint
    model: str
    class_names: tuple[str, ...]
    input_size_pixels: int
    preprocessing: Preprocessing
    unwrapped: str = ""
    which_weights: str = RAW

    @property
    def pretrained(self) -> Pretrained:
        """Return the network's weights alone, as `models/transfer.py` takes them."""
        _, tensors = stored_weights.chosen(self.checkpoint, self.which_weights, self.path)
        return Pretrained(tensors, self.model, self.input_size_pixels, self.path)


def resolve(
    config: Config, overrides: Sequence[str], peers: Peers
) -> tuple[Config, StartingWeights | None]:
    """Return the config of a new run, fitted to `model.weights`, and the weights; None without.

    overrides: the command's key=value words, whose values stay. Raises UsageError,
    CheckpointError.
    """
    named = config.fine_tuning.weights
    if named is None:
        return config, None

    # `latest` may be another run a moment later: one process decides for all
    path = processes.run_on_first(
        peers, lambda: str(run_folder.resolve_checkpoint(named).resolve())
    )
    weights = read(path, config.model, config.fine_tuning.which_weights)
    transfer.check_model(config.model, weights.pretrained)

    typed = {word.lstrip("+~").partition("=")[0] for word in overrides}
    dataset = _fitted_dataset(config.dataset, weights, typed)
    fitted = dataclasses.replace(
        config,
        dataset=dataset,
        augment=_fitted_crop(config.augment, dataset, weights, typed),
        fine_tuning=dataclasses.replace(config.fine_tuning, weights=path),
    )
    check_training(fitted)
    return fitted, weights


def read(path: str, model: ModelConfig, which_weights: str | None = None) -> StartingWeights:
    """Read the weights to start from: a checkpoint of cnnlab, or torchvision's AlexNet.

    which_weights: raw or ema; None: those that the checkpoint's training judged. Raises
    CheckpointError; UsageError for another model than such weights are made for.
    """
    unwrapped = ""
    if foreign_weights.is_foreign(path):
        tensors = foreign_weights.read(path)
        found = foreign_weights.as_checkpoint(tensors, model, path)
        unwrapped = tensors.unwrapping_note
    elif foreign.is_plain_of_ours(path):
        found = plain_weights.read(path)
    else:
        found = checkpoint.read(path)

    kind, _ = stored_weights.chosen(found, which_weights, path)
    try:
        document = found.document
        return StartingWeights(
            Path(path),
            found,
            str(document["config"]["model"]["name"]),
            tuple(str(name) for name in document["class_names"]),
            int(document["model"]["input_size_pixels"]),
            Preprocessing.from_state(found.tensors, document["input"]),
            unwrapped,
            kind,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint's description is incomplete ({error!r})", escape_control(path)
        ) from error


def preprocessing_of(
    dataset: DatasetConfig, train: Store, stored: Checkpoint | None
) -> Preprocessing:
    """Return the preprocessing of a run, its mean and deviation of `train` or of a checkpoint.

    stored: the checkpoint that the run starts or continues from. Raises UsageError where its mean
    does not fit the images.
    """
    channels = dataset.channels or train.image_shape[2]
    if dataset.normalize != "checkpoint":
        return preprocessing_for(train, dataset, channels)

    assert stored is not None, "dataset.normalize=checkpoint comes with a checkpoint"
    seen = Preprocessing.from_state(stored.tensors, stored.document["input"])
    size = dataset.image_size_pixels
    has_mean_image = seen.mean.dim() == 3
    for key, given, wanted in (
        ("channels", channels, seen.channels),
        ("image_size_pixels", size, seen.image_size_pixels if has_mean_image else size),
    ):
        if given != wanted:
            raise UsageError(
                f"dataset.{key}={given} does not fit the checkpoint's mean, made for {wanted}",
                hint=f"leave dataset.{key} out, or dataset.normalize=channel",
            )
    return Preprocessing(channels, size, dataset.pad_pixels, seen.mean, seen.std)


def load_into(
    network: Network,
    weights: StartingWeights,
    class_names: Sequence[str],
    settings: FineTuningConfig,
) -> tuple[str, ...]:
    """Copy the weights into the network; return lines that say what was copied.

    The head stays as initialized with `replace_head`, else its rows are put in the order of
    `class_names`. Raises UsageError when classes or sizes differ, CheckpointError when layers do;
    the network is then unchanged.
    """
    pretrained = weights.pretrained
    transfer.check_body(network, pretrained)

    head = transfer.head_of(network)
    if settings.replace_head:
        transfer.load_body(network, pretrained)
        said = f"new, for {len(class_names)} classes"
    else:
        order = _class_order(weights, class_names, head)
        transfer.load_all(network, pretrained, order)
        said = "kept" if order is None else "kept, its classes in this set's order"
    return _described(weights, f"last layer {head}: {said}")


def _fitted_dataset(
    dataset: DatasetConfig, weights: StartingWeights, typed: set[str]
) -> DatasetConfig:
    """Return the settings with which the network sees images as it saw its own."""
    seen = weights.preprocessing
    wanted = {
        "channels": seen.channels,
        "image_size_pixels": seen.image_size_pixels,
        "pad_pixels": seen.pad_pixels,
        "normalize": "checkpoint",
    }
    untyped = {key: value for key, value in wanted.items() if f"dataset.{key}" not in typed}
    return dataclasses.replace(dataset, **untyped)  # type: ignore[arg-type]


def _fitted_crop(
    augment: AugmentConfig, dataset: DatasetConfig, weights: StartingWeights, typed: set[str]
) -> AugmentConfig:
    """Return the augmentation whose crops have the size of the network's input."""
    if not hasattr(augment, "crop_pixels") or "augment.crop_pixels" in typed:
        return augment
    if (augment.crop_pixels or dataset.image_size_pixels) == weights.input_size_pixels:
        return augment
    crop: dict[str, Any] = {"crop_pixels": weights.input_size_pixels}
    return dataclasses.replace(augment, **crop)


def _class_order(weights: StartingWeights, class_names: Sequence[str], head: str) -> Tensor | None:
    """Return the checkpoint's row of each class, None where nothing moves.

    Raises UsageError, which names the key, unless the classes are the same by name.
    """
    try:
        return match_classes(weights.class_names, class_names, "the checkpoint", "the data")
    except DataError as error:
        raise UsageError(
            error.what,
            escape_control(f"{error.where}; {error.hint}"),
            f"model.replace_head=true trains a new last layer ({head})",
        ) from error


def _described(weights: StartingWeights, head: str) -> tuple[str, ...]:
    """Return lines for the run's header: whose weights, how they were wrapped, and the head."""
    step = weights.checkpoint.document.get("step")
    after = f" after step {step:,}" if type(step) is int else ""
    if weights.which_weights == EMA:
        after += ", moving average of the weights"
    return (
        escape_control(f"{weights.path}: {weights.model}{after}"),
        *filter(None, [weights.unwrapped]),
        head,
    )
