"""Build a network by the name of its model, registered models of your own included."""

from dataclasses import fields
from typing import Any

import torch
from torch import nn

from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.errors import UsageError
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.towers import SplitNetwork
from cnnlab.models.wrapped import wrap
from cnnlab.runtime import derive_seed, make_generator

__all__ = [
    "Layer",
    "Network",
    "Task",
    "build",
    "home_device",
    "on_one_device",
]


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
        network = builder(config, task, make_generator(seed, "init"))
        return network if isinstance(network, Network) else _wrapped(network, task, config.name)


def _wrapped(module: Any, task: Task, name: str) -> Network:
    """Return what the builder of an own model made as a network. Raises UsageError."""
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"the builder of model '{name}' returns a {type(module).__name__}",
            hint="it returns a torch.nn.Module",
        )
    return wrap(module, task, name)


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


def __getattr__(name: str) -> Any:
    """Tell modules that were written for an earlier version where own models are registered."""
    if name == "register":
        raise ImportError(
            "models.register is now MODELS.register(name, ModelChoice(...)): docs/extending.md"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
