"""Build a network by the name of its model, registered models of your own included."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch

from cnnlab.config.models import MODELS, ModelChoice, ModelConfig
from cnnlab.errors import UsageError
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.towers import SplitNetwork
from cnnlab.runtime import derive_seed, make_generator

__all__ = [
    "Layer",
    "Network",
    "Task",
    "build",
    "home_device",
    "on_one_device",
    "register",
]

Builder = Callable[[Any, Task, torch.Generator], Network]
"""(settings, task, generator for the weights) -> network."""


def build(
    config: ModelConfig, *, in_channels: int, input_size_pixels: int, num_classes: int, seed: int
) -> Network:
    """Build the model that `config.name` names, on the CPU, in training mode.

    The weights are a function of the settings and `seed`; torch's global random state is neither
    read nor changed. Raises UsageError, before any weight is allocated, for an unknown name and
    for sizes that do not work.
    """
    if config.name not in MODELS:
        raise UsageError(f"model.name is {config.name!r}; expected one of {', '.join(MODELS)}")
    builder = MODELS[config.name].load()
    task = Task(in_channels, input_size_pixels, num_classes)

    with torch.random.fork_rng(devices=[]):  # own models may draw from the global state
        torch.default_generator.manual_seed(derive_seed(seed, "init"))
        network: Network = builder(config, task, make_generator(seed, "init"))
    return network


def on_one_device(config: ModelConfig) -> ModelConfig:
    """Return the settings of the same network, with the same state dict, on one device."""
    row = MODELS.get(config.name)
    if row is None or row.one_device is None:
        return config

    other: type[ModelConfig] = MODELS[row.one_device].config_class
    kept = {key.name: getattr(config, key.name) for key in fields(other)}
    return other(**kept | {"name": row.one_device})


def home_device(network: Network, device: torch.device) -> torch.device:
    """Return the device of the network's scores when it runs on `device`."""
    return network.devices[0] if isinstance(network, SplitNetwork) else device


def register(
    name: str,
    builder: Builder,
    config_class: type[ModelConfig],
    usual_input: tuple[int, int, int] = (3, 224, 1000),
) -> None:
    """Add a model of your own under `name`, for modules listed in `plugins`.

    builder: (config, task, generator) -> Network; it may draw its weights from the generator or
    from torch's global state, both follow `seed`. usual_input: channels, size in pixels and classes
    of `cnnlab summary`. Registering a name again replaces an own model; raises UsageError for a
    built-in name.
    """
    MODELS.register(name, ModelChoice(config_class, builder, usual_input))
