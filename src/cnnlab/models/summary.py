"""The lecture's table of a network: output sizes, parameters, multiply-adds, receptive fields."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import CnnlabError
from cnnlab.models.layers import window_of
from cnnlab.models.meta import MetaWeights, without_weights
from cnnlab.models.network import Layer, Network


@dataclass(frozen=True)
class Row:
    """One layer, for one image.

    output_size: [C, H, W] or [features]. size_formula and parameter_formula: the lecture's, with
    numbers; empty where the layer has none.
    """

    name: str
    role: str
    output_size: list[int]
    num_parameters: int
    num_multiply_adds: int
    receptive_field_pixels: int
    jump_pixels: int
    size_formula: str
    parameter_formula: str


@dataclass(frozen=True)
class Summary:
    """All layers of a network, with totals."""

    model: str
    input_size: list[int]
    rows: tuple[Row, ...]

    @property
    def num_parameters(self) -> int:
        """Return the number of parameters of the whole network."""
        return sum(row.num_parameters for row in self.rows)

    @property
    def num_multiply_adds(self) -> int:
        """Return the multiply-adds of a forward pass of one image."""
        return sum(row.num_multiply_adds for row in self.rows)

    @property
    def fc_share(self) -> float:
        """Return the share of the parameters in fully connected layers, 0..1."""
        in_fc = sum(row.num_parameters for row in self.rows if row.role == "fc")
        return in_fc / self.num_parameters if self.num_parameters else 0.0

    def as_document(self) -> dict[str, Any]:
        """Return the summary as plain data, ready for JSON."""
        return {
            "model": self.model,
            "input_size": self.input_size,
            "num_parameters": self.num_parameters,
            "num_multiply_adds": self.num_multiply_adds,
            "fc_share": self.fc_share,
            "layers": [asdict(row) for row in self.rows],
        }


def summarize(network: Network, model: str = "") -> Summary:
    """Return the table of `network`; its weights, mode and random state stay as they are."""
    network = network.plan
    inputs, outputs = _shapes(network)
    fields = network.receptive_fields

    rows = []
    for layer in network.layers:
        before, after = inputs[layer.name], outputs[layer.name]
        field = fields[layer.name]
        rows.append(
            Row(
                layer.name,
                layer.role,
                after,
                num_trainable(layer.module),
                _multiply_adds(layer.module, after),
                field.size_pixels,
                field.jump_pixels,
                _size_formula(layer, before),
                _parameter_formula(layer.module),
            )
        )

    size = network.input_size_pixels
    return Summary(model, [network.in_channels, size, size], tuple(rows))


def summarize_unbuilt(build: Callable[[], Network], model: str = "") -> Summary:
    """Return the table of the network that `build` makes, without drawing or storing its weights.

    Where a layer does something else with its weights than convolutions and matrix products do,
    the network is built in full.
    """
    try:
        return summarize(without_weights(build), model)
    except CnnlabError:
        raise
    except Exception:  # values were needed; an error of another kind is raised again
        return summarize(build(), model)


def largest_map(network: Network) -> int:
    """Return the number of elements of the largest layer output for one image."""
    _, outputs = _shapes(network.plan)
    return max(math.prod(size) for size in outputs.values())


def num_trainable(module: nn.Module) -> int:
    """Return the number of parameters, frozen ones included."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def _shapes(network: Network) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the input and output sizes of each layer, for one image of zeros."""
    was_training = network.training
    network.eval()
    size = network.input_size_pixels
    with MetaWeights():
        outputs = network.activations(_black_image(network, network.in_channels, size))
    network.train(was_training)
    after = {name: list(maps.shape[1:]) for name, maps in outputs.items()}
    return network.sizes_before(after), after


def _black_image(network: Network, channels: int, size: int) -> Tensor:
    like = next(network.parameters(), torch.empty(0))
    device = "cpu" if like.is_meta else like.device
    return torch.zeros(1, channels, size, size, dtype=like.dtype, device=device)


def _multiply_adds(module: nn.Module, output: list[int]) -> int:
    if isinstance(module, nn.Conv2d):
        return module.weight.numel() * output[1] * output[2]
    if isinstance(module, nn.Linear):
        return module.weight.numel() * math.prod(output[:-1])  # of each token, where there are some
    count = getattr(module, "num_multiply_adds", None)
    return int(count(output)) if callable(count) else 0


def _size_formula(layer: Layer, before: list[int]) -> str:
    window = window_of(layer.module)
    if window is None or len(before) != 3:
        return ""
    size: int = before[1]
    return window.formula(size)


def _parameter_formula(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        seen, (height, width) = module.in_channels // module.groups, module.kernel_size
        kernel = f"{height}²" if height == width else f"{height}·{width}"
        return _formula(module, f"{module.out_channels}·{seen}·{kernel}", module.out_channels)
    if isinstance(module, nn.Linear):
        product = f"{module.in_features}·{module.out_features}"
        return _formula(module, product, module.out_features)
    formula = getattr(module, "parameter_formula", None)
    return str(formula()) if callable(formula) else ""


def _formula(module: nn.Conv2d | nn.Linear, weights: str, num_biases: int) -> str:
    """Return 'WEIGHTS + BIASES = sum', without the biases where the layer has none."""
    biases = f" + {num_biases}" if module.bias is not None else ""
    return f"{weights}{biases} = {num_trainable(module):,}"
