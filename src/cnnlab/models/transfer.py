"""Transfer learning: which layers of a network take pretrained weights, and which are trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cnnlab import checkpoint, models
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.models.meta import without_weights
from cnnlab.models.network import Network
from cnnlab.safe_output import escape_control

_MOST_LAYERS_SHOWN = 5


@dataclass(frozen=True)
class Pretrained:
    """Weights of another network. tensors: by their names in its state dict.

    model and path say in messages whose they are; input_size_pixels is the side of its images.
    """

    tensors: dict[str, Tensor]
    model: str
    input_size_pixels: int
    path: Path

    @property
    def where(self) -> str:
        """Return the file, for messages."""
        return escape_control(str(self.path))


def head_of(network: Network) -> str:
    """Return the name of the classification head: the last layer with weights."""
    return network.weighted[-1]


def freeze(network: Network, choice: str) -> None:
    """Freeze the layers that `model.train_layers` leaves out.

    choice: all, head or from:LAYER. Raises UsageError for a layer without weights.
    """
    if choice == "all":
        return

    layers = network.weighted
    first = head_of(network) if choice == "head" else choice.removeprefix("from:")
    if first not in layers:
        raise UsageError(
            f"model.train_layers={escape_control(choice)}: "
            f"no layer '{escape_control(first)}' has weights",
            hint=f"these have: {', '.join(layers)}",
        )
    network.freeze(layers[: layers.index(first)])


def of_usual_size(model: ModelConfig) -> Network:
    """Return the network for the images it was published for, with names and shapes alone.

    No weight is drawn, so that names of layers can be checked before any data is read.
    """
    channels, size, classes = MODELS[model.name].usual_input
    return without_weights(
        lambda: models.build(
            models.on_one_device(model),
            in_channels=channels,
            input_size_pixels=size,
            num_classes=classes,
            seed=0,
        )
    )


def check_model(model: ModelConfig, pretrained: Pretrained) -> None:
    """Raise CheckpointError unless the layers of `model` have the names of the pretrained ones.

    Sizes that follow from the images are not compared, so that this can run before any data is
    read. No weight of `model` is drawn: its shapes are enough.
    """
    if model.name == pretrained.model:
        return

    network = of_usual_size(model)
    given = pretrained.tensors
    own = {name: given.get(name, tensor) for name, tensor in network.state_dict().items()}
    _check_layers(own, given, pretrained)


def check_body(network: Network, pretrained: Pretrained) -> None:
    """Check the size of the images and every layer before the head.

    Raises UsageError for images of another size, CheckpointError with the layers that differ.
    """
    given, wanted = network.input_size_pixels, pretrained.input_size_pixels
    if given != wanted:
        raise UsageError(
            f"the network of model.weights takes images of {wanted} pixels, it would get {given}",
            pretrained.where,
            f"augment=crop, or dataset.image_size_pixels={wanted}",
        )

    head = head_of(network)
    own, taken = _without(dict(network.state_dict()), head), _without(pretrained.tensors, head)
    _check_layers(own, taken, pretrained)


def load_body(network: Network, pretrained: Pretrained) -> None:
    """Copy the weights of all layers but the head, which stays as it was initialized."""
    own, head = dict(network.state_dict()), head_of(network)
    checkpoint.copy_into(_without(own, head), _without(pretrained.tensors, head), pretrained.path)
    network.load_state_dict(own)


def load_all(network: Network, pretrained: Pretrained, row_order: Tensor | None) -> None:
    """Copy the weights of all layers, the rows of the head in `row_order`.

    row_order: int64 [K], the pretrained row of each class; None: as they are. Raises UsageError
    for a head that has no row for each class, CheckpointError for one of another size; the network
    is then unchanged.
    """
    own, head = dict(network.state_dict()), head_of(network)
    rows = {n: t for n, t in pretrained.tensors.items() if n.startswith(f"{head}.")}

    if row_order is not None:
        if any(len(tensor) != len(row_order) for tensor in rows.values()):
            raise UsageError(
                f"the data's classes are in another order, and {head} has no row for each class",
                pretrained.where,
                "model.replace_head=true trains a new one",
            )
        rows = {name: tensor[row_order] for name, tensor in rows.items()}

    checkpoint.copy_into(own, _without(pretrained.tensors, head) | rows, pretrained.path)
    network.load_state_dict(own)


def _without(tensors: dict[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if not name.startswith(f"{layer}.")}


def _check_layers(own: dict[str, Tensor], given: dict[str, Tensor], pretrained: Pretrained) -> None:
    """Raise CheckpointError with the layers that differ."""
    found: dict[str, str] = {}
    for layer, how in _different_layers(own, given):
        found.setdefault(layer, how)
    if not found:
        return

    shown = "; ".join(list(found.values())[:_MOST_LAYERS_SHOWN])
    more = len(found) - _MOST_LAYERS_SHOWN
    raise CheckpointError(
        f"model.weights are those of another network, {escape_control(pretrained.model)}",
        pretrained.where,
        escape_control(shown) + (f"; and {more} more layers" if more > 0 else ""),
    )


def _different_layers(
    own: dict[str, Tensor], given: dict[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """Yield (layer, how it differs) for each tensor that is missing, extra or of another shape."""
    for name in [*own, *(name for name in given if name not in own)]:
        layer = name.rpartition(".")[0]
        if name not in given:
            yield layer, f"{layer} is not in the checkpoint"
        elif name not in own:
            yield layer, f"{layer} is only in the checkpoint"
        elif own[name].shape != given[name].shape:
            sizes = ["x".join(map(str, tensor.shape)) for tensor in (given[name], own[name])]
            yield layer, f"{name} is {sizes[0]} instead of {sizes[1]}"
