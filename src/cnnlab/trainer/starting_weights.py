"""Training that begins with a checkpoint: the images as it saw them, and which layers train.

The network sees the new images as it saw its own: channels, size, border, mean and deviation come
from the checkpoint, and crops have the size of its input. They enter the run's config, so that the
checkpoint is not needed again. What the command line says itself (`dataset.normalize=channel`)
stays as said.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from cnnlab import checkpoint, models, run_folder
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig, check_training
from cnnlab.config.data import AugmentConfig, DatasetConfig
from cnnlab.config.models import MODELS, FineTuningConfig, ModelConfig
from cnnlab.conversion import foreign_weights, plain_weights
from cnnlab.data.stats import preprocessing_for
from cnnlab.data.store import Store
from cnnlab.distributed import Peers
from cnnlab.errors import CheckpointError, DataError, UsageError
from cnnlab.evaluation.classes import match_classes
from cnnlab.files import foreign
from cnnlab.models import Network
from cnnlab.preprocessing import Preprocessing
from cnnlab.printable import printable
from cnnlab.trainer import processes

Config = TypeVar("Config", bound=TrainConfig)

_MOST_LAYERS_SHOWN = 5


@dataclass(frozen=True)
class Origin:
    """The checkpoint that a training begins with. model: the name of its network.

    unwrapped: what stood around the weights of a file that is not cnnlab's, '' for nothing.
    """

    path: Path
    held: Checkpoint
    model: str
    class_names: tuple[str, ...]
    input_size_pixels: int
    preprocessing: Preprocessing
    unwrapped: str = ""


def begin(config: Config, words: Sequence[str], peers: Peers) -> tuple[Config, Origin | None]:
    """Return the config of a new run as its weights ask for, and the weights; None without.

    words: the command's key=value words. Raises UsageError, CheckpointError.
    """
    named = config.fine_tuning.weights
    if named is None:
        return config, None
    path = processes.from_first(peers, lambda: str(run_folder.resolve_checkpoint(named).resolve()))
    origin = read(path, config.model)
    _check_network(config.model, origin)
    said = {word.lstrip("+~").partition("=")[0] for word in words}
    dataset = _as_seen(config.dataset, origin, said)
    fitted = dataclasses.replace(
        config,
        dataset=dataset,
        augment=_as_large(config.augment, dataset, origin, said),
        fine_tuning=dataclasses.replace(config.fine_tuning, weights=path),
    )
    check_training(fitted)
    return fitted, origin


def read(path: str, model: ModelConfig) -> Origin:
    """Read what a training begins with: a checkpoint of cnnlab, or torchvision's AlexNet.

    Raises CheckpointError; UsageError for another model than such weights are made for.
    """
    unwrapped = ""
    if foreign_weights.is_foreign(path):
        weights = foreign_weights.read(path)
        held, unwrapped = foreign_weights.as_checkpoint(weights, model, path), weights.said
    elif foreign.is_plain_of_ours(path):
        held = plain_weights.read(path)
    else:
        held = checkpoint.read(path)
    try:
        document = held.document
        return Origin(
            Path(path),
            held,
            str(document["config"]["model"]["name"]),
            tuple(str(name) for name in document["class_names"]),
            int(document["model"]["input_size_pixels"]),
            Preprocessing.from_state(held.tensors, document["input"]),
            unwrapped,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint's description is incomplete ({error!r})", printable(path)
        ) from error


def preprocessing_of(
    dataset: DatasetConfig, train: Store, held: Checkpoint | None
) -> Preprocessing:
    """Return the preprocessing of a run, its mean and deviation of `train` or of the checkpoint.

    held: what the run begins with, or its own checkpoint when it goes on.
    """
    channels = dataset.channels or train.image_shape[2]
    if dataset.normalize != "checkpoint":
        return preprocessing_for(train, dataset, channels)
    assert held is not None, "who asks for the checkpoint's normalization has one"
    seen = Preprocessing.from_state(held.tensors, held.document["input"])
    size = dataset.image_size_pixels
    for key, given, wanted in (
        ("channels", channels, seen.channels),
        ("image_size_pixels", size, seen.image_size_pixels if seen.mean.dim() == 3 else size),
    ):
        if given != wanted:
            raise UsageError(
                f"dataset.{key}={given} does not fit the checkpoint's mean, made for {wanted}",
                hint=f"leave dataset.{key} out, or dataset.normalize=channel",
            )
    return Preprocessing(channels, size, dataset.pad_pixels, seen.mean, seen.std)


def freeze(network: Network, choice: str) -> None:
    """Freeze the layers that `model.train_layers` leaves out. Raises UsageError."""
    if choice == "all":
        return
    layers = network.weighted
    first = layers[-1] if choice == "head" else choice.removeprefix("from:")
    if first not in layers:
        raise UsageError(
            f"model.train_layers={printable(choice)}: no layer '{printable(first)}' has weights",
            hint=f"these have: {', '.join(layers)}",
        )
    network.freeze(layers[: layers.index(first)])


def take_over(
    network: Network, origin: Origin, class_names: Sequence[str], settings: FineTuningConfig
) -> tuple[str, ...]:
    """Give the network the checkpoint's weights; return lines that say what was taken.

    The head is the last layer with weights. It is left as it is with `replace_head`, else its
    rows are put in the order of `class_names`. Raises UsageError when classes or sizes differ,
    CheckpointError when layers do; the network is then unchanged.
    """
    own = dict(network.state_dict())
    given = checkpoint.section(origin.held.tensors, "model.")
    head = f"{network.weighted[-1]}."
    rest = {name: tensor for name, tensor in own.items() if not name.startswith(head)}
    taken = {name: tensor for name, tensor in given.items() if not name.startswith(head)}
    _check_input(network, origin)
    _check_layers(rest, taken, origin)
    kept = f"new, for {len(class_names)} classes"
    if not settings.replace_head:
        order = _class_order(origin, class_names, head)
        rest, taken = own, taken | _head_rows(origin, given, order, head)
        kept = "kept" if order is None else "kept, its classes in this set's order"
    checkpoint.copy_into(rest, taken, origin.path)
    network.load_state_dict(own)
    return _said(origin, head, kept)


def _as_seen(dataset: DatasetConfig, origin: Origin, said: set[str]) -> DatasetConfig:
    seen = origin.preprocessing
    wanted = {
        "channels": seen.channels,
        "image_size_pixels": seen.image_size_pixels,
        "pad_pixels": seen.pad_pixels,
        "normalize": "checkpoint",
    }
    unsaid = {key: value for key, value in wanted.items() if f"dataset.{key}" not in said}
    return dataclasses.replace(dataset, **unsaid)  # type: ignore[arg-type]


def _as_large(
    augment: AugmentConfig, dataset: DatasetConfig, origin: Origin, said: set[str]
) -> AugmentConfig:
    """Let crops have the size of the network's input."""
    if not hasattr(augment, "crop_pixels") or "augment.crop_pixels" in said:
        return augment
    if (augment.crop_pixels or dataset.image_size_pixels) == origin.input_size_pixels:
        return augment
    crop: dict[str, Any] = {"crop_pixels": origin.input_size_pixels}
    return dataclasses.replace(augment, **crop)


def _check_network(model: ModelConfig, origin: Origin) -> None:
    """Raise CheckpointError, before any size matters, unless the layers have the same names."""
    if model.name == origin.model:
        return
    channels, size, classes = MODELS[model.name].usual_input
    network = models.build(
        models.on_one_device(model),
        in_channels=channels,
        input_size_pixels=size,
        num_classes=classes,
        seed=0,
    )
    given = checkpoint.section(origin.held.tensors, "model.")
    own = {name: given.get(name, tensor) for name, tensor in network.state_dict().items()}
    _check_layers(own, given, origin)


def _check_input(network: Network, origin: Origin) -> None:
    given, wanted = network.input_size_pixels, origin.input_size_pixels
    if given != wanted:
        raise UsageError(
            f"the network of model.weights takes images of {wanted} pixels, it would get {given}",
            printable(str(origin.path)),
            f"augment=crop, or dataset.image_size_pixels={wanted}",
        )


def _check_layers(own: dict[str, Tensor], given: dict[str, Tensor], origin: Origin) -> None:
    """Raise CheckpointError with the layers that differ."""
    found: dict[str, str] = {}
    for layer, how in _different_layers(own, given):
        found.setdefault(layer, how)
    if not found:
        return
    shown = "; ".join(list(found.values())[:_MOST_LAYERS_SHOWN])
    more = len(found) - _MOST_LAYERS_SHOWN
    raise CheckpointError(
        f"model.weights are those of another network, {printable(origin.model)}",
        printable(str(origin.path)),
        printable(shown) + (f"; and {more} more layers" if more > 0 else ""),
    )


def _different_layers(
    own: dict[str, Tensor], given: dict[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """Yield (layer, how it differs), a layer once for each of its tensors."""
    for name in [*own, *(name for name in given if name not in own)]:
        layer = name.rpartition(".")[0]
        if name not in given:
            yield layer, f"{layer} is not in the checkpoint"
        elif name not in own:
            yield layer, f"{layer} is only in the checkpoint"
        elif own[name].shape != given[name].shape:
            sizes = ["x".join(map(str, tensor.shape)) for tensor in (given[name], own[name])]
            yield layer, f"{name} is {sizes[0]} instead of {sizes[1]}"


def _class_order(origin: Origin, class_names: Sequence[str], head: str) -> Tensor | None:
    """Return the checkpoint's column of each class, None where nothing moves.

    Raises UsageError, which names the key, unless the classes are the same by name.
    """
    try:
        return match_classes(origin.class_names, class_names, "the checkpoint", "the data")
    except DataError as error:
        raise UsageError(
            error.what,
            printable(f"{error.where}; {error.hint}"),
            f"model.replace_head=true trains a new last layer ({head[:-1]})",
        ) from error


def _head_rows(
    origin: Origin, given: dict[str, Tensor], order: Tensor | None, head: str
) -> dict[str, Tensor]:
    """Return the head's tensors with the classes in this order."""
    found = {name: tensor for name, tensor in given.items() if name.startswith(head)}
    if order is None:
        return found
    if any(len(tensor) != len(order) for tensor in found.values()):
        raise UsageError(
            f"the data's classes are in another order, and {head[:-1]} has no row for each class",
            printable(str(origin.path)),
            "model.replace_head=true trains a new one",
        )
    return {name: tensor[order] for name, tensor in found.items()}


def _said(origin: Origin, head: str, kept: str) -> tuple[str, ...]:
    """Return what was taken, for people."""
    step = origin.held.document.get("step")
    after = f" after step {step:,}" if type(step) is int else ""
    return (
        printable(f"{origin.path}: {origin.model}{after}"),
        *filter(None, [origin.unwrapped]),
        f"last layer {head[:-1]}: {kept}",
    )
