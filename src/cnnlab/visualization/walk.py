"""Going through a network's list of layers: by name, up to a layer, by role."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the listed layers in order."""
    return tuple(layer.name for layer in layers_of(model))


def layers_of(model: nn.Module) -> tuple[Any, ...]:
    """Return the model's (name, role, module) list; UsageError for a model that has none."""
    layers = getattr(model, "layers", None)
    if not layers:
        raise UsageError(
            f"{type(model).__name__} does not list its layers, so there is nothing to look into"
        )
    return tuple(layers)


def check_layer(model: nn.Module, name: str) -> str:
    """Return the name; raise UsageError that lists the layers when there is no such layer."""
    names = layer_names(model)
    if name not in names:
        raise UsageError(f"the network has no layer {name!r}", hint=f"it has: {', '.join(names)}")
    return name


def check_units(units: tuple[int, ...], num_units: int, layer: str) -> tuple[int, ...]:
    """Return the units; raise UsageError that names the range when one does not exist."""
    for unit in units:
        if not 0 <= unit < num_units:
            raise UsageError(
                f"layer {layer} has no unit {unit}", hint=f"its units are 0 to {num_units - 1}"
            )
    return units


def layers_with(model: nn.Module, *roles: str) -> tuple[Any, ...]:
    """Return the layers whose role is one of `roles`, in order."""
    return tuple(layer for layer in layers_of(model) if layer.role in roles)


def default_layer(model: nn.Module, *roles: str) -> str:
    """Return the name of the last layer with such a role; UsageError when there is none."""
    found = layers_with(model, *roles)
    if not found:
        raise UsageError(
            f"the network has no {' or '.join(roles)} layer",
            hint=f"it has: {', '.join(f'{one.name} ({one.role})' for one in layers_of(model))}",
        )
    return str(found[-1].name)


def each_layer(model: nn.Module, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
    """Yield every layer with its output; images float [N,C,S,S]."""
    maps = images
    for layer in layers_of(model):
        maps = layer.module(maps)
        yield layer, maps


def maps_at(model: nn.Module, images: Tensor, name: str) -> Tensor:
    """Return the output of the named layer, computing nothing behind it."""
    for layer, maps in each_layer(model, images):
        if layer.name == name:
            return maps
    raise AssertionError(f"{name} was not checked")


def places_of(maps: Tensor) -> Tensor:
    """Flatten the places of maps [N,K,H,W] to [N,K,H*W], and of units [N,K] to [N,K,1]."""
    return maps.reshape(*maps.shape[:2], -1)


def hidden_layer(model: nn.Module) -> str:
    """Return the name of the layer whose output the last fully connected layer reads.

    The 4096 numbers behind fc7's rectifier in AlexNet, F6's 84 in LeNet-5 (whose last layer may
    measure distances). UsageError when the scores are computed from the pixels.
    """
    layers = layers_of(model)
    last = max((i for i, layer in enumerate(layers) if layer.role in ("fc", "rbf")), default=0)
    before = [layer for layer in layers[:last] if layer.role not in ("flatten", "dropout")]
    if not before:
        raise UsageError("the network has no hidden layer: its scores come from the pixels")
    return str(before[-1].name)


@torch.no_grad()
def num_units_of(model: nn.Module, images: Tensor, name: str) -> int:
    """Return how many maps or units the named layer has; images float, one is enough."""
    return maps_at(model, images[:1], name).shape[1]
