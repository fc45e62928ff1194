"""Parameter groups: weights and biases of which layers, with their rates, schedules and decay."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from cnnlab.config.parameter_groups import KINDS, ParameterGroupConfig
from cnnlab.config.training import OptimizerConfig
from cnnlab.errors import UsageError


class Named(NamedTuple):
    """A parameter with its name and the layer that it belongs to."""

    layer: str
    name: str
    parameter: nn.Parameter


def parameter_groups(
    config: OptimizerConfig, model: nn.Module, steps_per_epoch: int = 1
) -> list[dict[str, Any]]:
    """Return the groups of an optimizer: per device those of all layers, then `config.groups`.

    Each carries the `base_rate` that the loop multiplies with the schedule, and `own_fractions`
    where it has a schedule of its own. Raises UsageError for a group of layers that the model
    lacks or does not train.
    """
    trained = [each for each in _named(model) if each.parameter.requires_grad]
    members = [_members(each, config.groups, trained) for each in (None, *config.groups)]
    for group, found in zip(config.groups, members[1:], strict=True):
        _check_layers(group, found, model)

    groups = []
    for device in dict.fromkeys(each.parameter.device for each in trained):
        for each, found in zip((None, *config.groups), members, strict=True):
            for kind in KINDS:
                own = [one.parameter for one in found if _is(one, device, kind)]
                if own:
                    settings = _settings(config, each, kind, steps_per_epoch)
                    groups.append({"name": _name(each, kind), "params": own, **settings})
    return groups


def _members(
    group: ParameterGroupConfig | None, groups: Sequence[ParameterGroupConfig], named: list[Named]
) -> list[Named]:
    """Return the parameters of one of `groups`; None: those that are in none of them."""
    return [
        each
        for each in named
        if _group_of(each.layer, _kind(each.name, each.parameter), groups) is group
    ]


def _group_of(
    layer: str, kind: str, groups: Sequence[ParameterGroupConfig]
) -> ParameterGroupConfig | None:
    """Return the group that names a layer, else the one of all other layers, else None."""
    own = [group for group in groups if kind in group.kinds]
    named = (group for group in own if group.layers is not None and layer in group.layers)
    others = (group for group in own if group.layers is None)
    return next(named, next(others, None))


def _named(model: nn.Module) -> list[Named]:
    """Return the parameters of a model: a network says which layer each belongs to."""
    layer_of = getattr(model, "layer_of", lambda name: name.partition(".")[0])
    return [Named(layer_of(name), name, p) for name, p in model.named_parameters()]


def _is(named: Named, device: torch.device, kind: str) -> bool:
    """Return whether a parameter is on a device and of a kind."""
    parameter = named.parameter
    return parameter.device == device and _kind(named.name, parameter) == kind


def _kind(name: str, parameter: nn.Parameter) -> str:
    """Return whether a parameter is among the weights or the biases.

    Biases are all parameters of one dimension, shift and scale of normalization layers included,
    and what is called so: a locally connected layer has a bias for each position.
    """
    is_bias = parameter.dim() <= 1 or name.rpartition(".")[2] == "bias"
    return "biases" if is_bias else "weights"


def _settings(
    config: OptimizerConfig,
    group: ParameterGroupConfig | None,
    kind: str,
    steps_per_epoch: int,
) -> dict[str, Any]:
    """Return rate, weight decay and schedule of the weights or the biases of a group."""
    rate, decay = config.learning_rate, config.weight_decay
    if group is not None:
        rate = rate if group.rate_factor is None else rate * group.rate_factor
        decay = decay if group.weight_decay is None else group.weight_decay
    if kind == "biases":
        rate = rate * config.bias_rate_factor
        decay = decay if config.decay_biases else 0.0

    settings: dict[str, Any] = {"lr": rate, "base_rate": rate, "weight_decay": decay}
    if group is not None and group.at_epochs is not None:
        steps = [round(epoch * steps_per_epoch) for epoch in group.at_epochs]
        settings["own_fractions"] = list(zip(steps, group.fractions or (), strict=True))
    return settings


def _name(group: ParameterGroupConfig | None, kind: str) -> str:
    layers = None if group is None else group.layers
    return kind if layers is None else f"{kind} of {', '.join(layers)}"


def _check_layers(group: ParameterGroupConfig, found: list[Named], model: nn.Module) -> None:
    """Raise UsageError unless the group has parameters of each of its layers, and any at all."""
    with_weights = list(dict.fromkeys(each.layer for each in _named(model)))
    reached = {each.layer for each in found}
    missing = [layer for layer in group.layers or [] if layer not in reached]
    if not missing and found:
        return

    what = f"optimizer.groups: {group.described}"
    if not missing:
        raise UsageError(f"{what} are none: every layer is named in another group, or frozen")
    layer = missing[0]
    if layer in with_weights:
        which = group.parameters or "parameters"
        raise UsageError(
            f"{what}: {layer} has no {which} to train",
            hint="take it out of the group; model.train_layers says which layers are trained",
        )
    similar = difflib.get_close_matches(layer, with_weights, 1, cutoff=0.5)
    raise UsageError(
        f"{what}: no layer '{layer}' has weights",
        f"these have: {', '.join(with_weights)}",
        f"did you mean '{similar[0]}'?" if similar else "",
    )
