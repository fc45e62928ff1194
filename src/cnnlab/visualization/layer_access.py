"""A network's layers by name and by role, and what they output."""

from collections.abc import Iterator

from torch import Tensor

from cnnlab.errors import UsageError
from cnnlab.models.network import Layer, Network


def layers_of(model: Network) -> tuple[Layer, ...]:
    """Return the model's layers in order. Raises UsageError for a module that lists none."""
    layers = getattr(model, "layers", None)
    if not layers:
        raise UsageError(
            f"{type(model).__name__} does not list its layers, so no picture can be drawn of it"
        )
    return tuple(layers)


def check_layer(model: Network, name: str) -> str:
    """Return the name. Raises UsageError that lists the layers when there is no such layer."""
    names = [layer.name for layer in layers_of(model)]
    if name not in names:
        raise UsageError(f"the network has no layer {name!r}", hint=f"it has: {', '.join(names)}")
    return name


def check_units(units: tuple[int, ...], num_units: int, layer: str) -> tuple[int, ...]:
    """Return the units. Raises UsageError that names the range when one does not exist."""
    for unit in units:
        if not 0 <= unit < num_units:
            raise UsageError(
                f"layer {layer} has no unit {unit}", hint=f"its units are 0 to {num_units - 1}"
            )
    return units


def layers_with(model: Network, *roles: str) -> tuple[Layer, ...]:
    """Return the layers whose role is one of `roles`, in order."""
    return tuple(layer for layer in layers_of(model) if layer.role in roles)


def default_layer(model: Network, *roles: str) -> str:
    """Return the name of the last layer with such a role. Raises UsageError when there is none."""
    found = layers_with(model, *roles)
    if not found:
        raise UsageError(
            f"the network has no {' or '.join(roles)} layer",
            hint=f"it has: {', '.join(f'{one.name} ({one.role})' for one in layers_of(model))}",
        )
    return found[-1].name


def each_layer(model: Network, images: Tensor) -> Iterator[tuple[Layer, Tensor]]:
    """Yield every layer with its output; images float [N,C,S,S]."""
    layers_of(model)
    yield from model.outputs(images)


def maps_at(model: Network, images: Tensor, name: str) -> Tensor:
    """Return the output of the named layer; later layers are not computed."""
    for layer, maps in each_layer(model, images):
        if layer.name == name:
            return maps
    raise AssertionError(f"{name} was not checked")


def flatten_positions(maps: Tensor) -> Tensor:
    """Flatten the positions of maps: [N,K,H,W] -> [N,K,H*W], and of units [N,K] -> [N,K,1]."""
    return maps.reshape(*maps.shape[:2], -1)


def map_width(maps: Tensor) -> int:
    """Return W of maps [N,K,H,W]; 1 for units [N,K]."""
    return maps.shape[-1] if maps.dim() == 4 else 1


def hidden_layer(model: Network) -> str:
    """Return the name of the layer whose output the last fully connected layer reads.

    The 4096 numbers after fc7's rectifier in AlexNet, F6's 84 in LeNet-5 (whose last layer may
    measure distances). Raises UsageError when the scores are computed from the pixels.
    """
    layers = layers_of(model)
    last = max((i for i, layer in enumerate(layers) if layer.role in ("fc", "rbf")), default=0)
    before = [layer for layer in layers[:last] if layer.role not in ("flatten", "dropout")]
    if not before:
        raise UsageError("the network has no hidden layer: its scores come from the pixels")
    return before[-1].name
