"""Initialize weights and biases; every random number comes from the generator that is passed."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnlab.models.network import Layer, Network

WeightRule = Callable[[Tensor, torch.Generator], None]
"""(weight [C', C / groups, ...], generator) -> None; fills the weight in place."""


def normal(deviation: float) -> WeightRule:
    """Return the rule N(0, deviation^2)."""

    def fill(weight: Tensor, generator: torch.Generator) -> None:
        if not weight.is_meta:  # for which torch imports its compiler, to draw nothing
            nn.init.normal_(weight, 0.0, deviation, generator=generator)

    return fill


def kaiming(weight: Tensor, generator: torch.Generator) -> None:
    """Draw from N(0, 2 / fan-in). Source: He et al. 2015, equation 10."""
    if not weight.is_meta:  # as in `normal`
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def xavier(weight: Tensor, generator: torch.Generator) -> None:
    """Draw uniformly with variance 2 / (fan-in + fan-out). Source: Glorot & Bengio 2010, eq. 16."""
    nn.init.xavier_uniform_(weight, generator=generator)


def lecun(weight: Tensor, generator: torch.Generator) -> None:
    """Draw from U(-2.4 / sqrt F, 2.4 / sqrt F), F the fan-in.

    Source: LeCun et al. 1998 prints 2.4 / F_i; the square root is the reading that trains.
    """
    bound = 2.4 / math.sqrt(fan_in(weight))
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def lecun_literal(weight: Tensor, generator: torch.Generator) -> None:
    """Draw from U(-2.4 / F, 2.4 / F), F the fan-in, as LeCun et al. 1998 print it."""
    bound = 2.4 / fan_in(weight)
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def torch_default(weight: Tensor, generator: torch.Generator) -> None:
    """Draw as torch's own Conv2d and Linear do, U(-1 / sqrt F, 1 / sqrt F)."""
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)


WEIGHT_RULES: dict[str, WeightRule] = {
    "kaiming": kaiming,
    "xavier": xavier,
    "lecun": lecun,
    "lecun_literal": lecun_literal,
    "torch": torch_default,
}


def fan_in(weight: Tensor) -> int:
    """Return the number of inputs of one unit, for a weight [C', C / groups, ...]."""
    return math.prod(weight.shape[1:])


@torch.no_grad()
def initialize(network: Network, rule: str, generator: torch.Generator) -> None:
    """Fill all weights by one rule and the biases with 0 (`torch`: drawn like the weights).

    `kaiming` draws the last layer from N(0, 0.01^2): no ReLU follows it, and with scores near 0
    training starts at a loss of ln(classes), without an initial spike.
    """
    last = network.layers[-1].name
    for layer in network.layers:
        weight, bias = _weight_and_bias(layer)
        if weight is not None:
            fill = normal(0.01) if (rule, layer.name) == ("kaiming", last) else WEIGHT_RULES[rule]
            fill(weight, generator)
        if bias is not None and weight is not None:
            _fill_bias(bias, weight, rule, generator)


@torch.no_grad()
def initialize_by_layer(
    network: Network,
    weights: Callable[[str], WeightRule],
    biases: Callable[[str], float],
    generator: torch.Generator,
) -> None:
    """Fill the weights and biases by rules that are looked up by layer name."""
    for layer in network.layers:
        weight, bias = _weight_and_bias(layer)
        if weight is not None:
            weights(layer.name)(weight, generator)
        if bias is not None:
            bias.fill_(biases(layer.name))


def _weight_and_bias(layer: Layer) -> tuple[Tensor | None, Tensor | None]:
    """Return what a rule fills; batch normalization starts as it was built, with 1 and 0."""
    if layer.role == "batch_norm":
        return None, None
    own = dict(layer.module.named_parameters(recurse=False))
    return own.get("weight"), own.get("bias")


def _fill_bias(bias: Tensor, weight: Tensor, rule: str, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in(weight)) if rule == "torch" else 0.0
    nn.init.uniform_(bias, -bound, bound, generator=generator)
