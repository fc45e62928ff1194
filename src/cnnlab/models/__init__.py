"""Build a network by name: the table of all models, own ones included."""

from collections.abc import Callable
from typing import Any

import torch

from cnnlab import config as settings
from cnnlab.config.models import AlexnetConfig, AlexnetTwoGpuConfig, ModelConfig
from cnnlab.config.schema import to_plain
from cnnlab.errors import UsageError
from cnnlab.models.alexnet import alexnet, alexnet_two_tower
from cnnlab.models.alexnet_2014 import alexnet_2014, alexnet_cifar
from cnnlab.models.cifar import cifar_local, four_layer
from cnnlab.models.lenet5 import lenet5
from cnnlab.models.lenet5_1998 import lenet5_1998
from cnnlab.models.network import Layer, Network, Task
from cnnlab.models.small import linear, mlp
from cnnlab.models.towers import SplitNetwork, alexnet_two_gpu
from cnnlab.runtime import derive_seed, make_generator

__all__ = [
    "MODELS",
    "USUAL_INPUT",
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

MODELS: dict[str, Builder] = {
    "linear": linear,
    "mlp": mlp,
    "lenet5": lenet5,
    "lenet5_1998": lenet5_1998,
    "alexnet": alexnet,
    "alexnet_two_tower": alexnet_two_tower,
    "alexnet_two_gpu": alexnet_two_gpu,
    "alexnet_2014": alexnet_2014,
    "alexnet_cifar": alexnet_cifar,
    "cifar_13pct": cifar_local,
    "cifar_11pct": cifar_local,
    "four_layer": four_layer,
}

USUAL_INPUT: dict[str, tuple[int, int, int]] = {
    "linear": (1, 28, 10),
    "mlp": (1, 28, 10),
    "lenet5": (1, 32, 10),
    "lenet5_1998": (1, 32, 10),
    "alexnet": (3, 224, 1000),
    "alexnet_two_tower": (3, 224, 1000),
    "alexnet_two_gpu": (3, 224, 1000),
    "alexnet_2014": (3, 224, 1000),
    "alexnet_cifar": (3, 32, 10),
    "cifar_13pct": (3, 32, 10),
    "cifar_11pct": (3, 24, 10),
    "four_layer": (3, 32, 10),
}
"""(channels, size in pixels, classes) for which each model was published."""


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
    task = Task(in_channels, input_size_pixels, num_classes)
    with torch.random.fork_rng(devices=[]):  # own models may draw from the global state
        torch.default_generator.manual_seed(derive_seed(seed, "init"))
        return MODELS[config.name](config, task, make_generator(seed, "init"))


def on_one_device(config: ModelConfig) -> ModelConfig:
    """Return the settings of the same network, with the same state dict, on one device."""
    if not isinstance(config, AlexnetTwoGpuConfig):
        return config
    plain = to_plain(config) | {"name": "alexnet_two_tower"}
    del plain["devices"]
    return AlexnetConfig(**plain)


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
    if name in _BUILT_IN:
        raise UsageError(f"'{name}' is a built-in model", hint="give your model another name")
    MODELS[name] = builder
    settings.models.MODELS[name] = config_class
    USUAL_INPUT[name] = usual_input


_BUILT_IN = frozenset(MODELS)
