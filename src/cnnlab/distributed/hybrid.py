"""Hybrid parallelism: convolutions replicated, fully connected layers split by units.

Each process computes the convolutions of its rows and their gradients are summed, as in data
parallelism. The features of all rows are then assembled in every process, which computes its own
units of each fully connected layer for the whole batch; the last layer, which gives the scores, is
computed whole by all. So 95 % of AlexNet's parameters are never exchanged, only activations.
Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", section
4, scheme (a). Departures: the gradients of the features are summed whole, not only each process's
rows; the layer of the scores is not split.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.distributed.byte_account import SCORING
from cnnlab.distributed.data_parallel import DataParallel, Module, Norm
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.errors import UsageError


class Gather(torch.autograd.Function):
    """Each process's share along `dim` -> the whole; the gradient of the whole -> its share.

    The gradient of the whole must be complete, and the same, in every process.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, total: int, dim: int, peers: Peers) -> Tensor:
        """Return the whole, `total` along `dim`."""
        ctx.share, ctx.dim = peers.share.slice_of(total), dim
        return peers.gather_shares(own, total, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the share of the gradient."""
        own = gradients[0].narrow(ctx.dim, ctx.share.first, len(ctx.share))
        return own.contiguous(), None, None, None


class SumGradient(torch.autograd.Function):
    """The same tensor in every process; its gradient, of which each has a part, is summed."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, peers: Peers) -> Tensor:
        """Return the inputs as they are."""
        ctx.peers = peers
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the sum over the processes."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        ctx.peers.sum(total)
        return total, None


class SplitLinear(nn.Module):
    """A linear layer of which this process computes its share of the units: [N, C] -> [N, C'].

    Its parameters are rows of the whole layer's, in the same storage.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, whole: nn.Linear, peers: Peers) -> None:
        super().__init__()
        self.num_units, self._peers = whole.out_features, peers
        rows = peers.share.slice_of(whole.out_features).rows
        for name, parameter in whole.named_parameters():
            part = nn.Parameter(parameter.data[rows], requires_grad=parameter.requires_grad)
            self.register_parameter(name, part)
        if whole.bias is None:
            self.register_parameter("bias", None)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return all units, of which the other processes compute theirs meanwhile."""
        seen = SumGradient.apply(inputs, self._peers)
        return Gather.apply(F.linear(seen, self.weight, self.bias), self.num_units, 1, self._peers)


class Hybrid(DataParallel):
    """The scheme of 2014. The loss is that of the whole batch, and the same, in every process.

    A process keeps whole weights, for validation and saving, but gradients and state of its share
    alone. overlaps: always; a batch in parts would be assembled in parts, with other masks. Raises
    UsageError for a network that cannot be split.
    """

    assembles = True

    def __init__(
        self,
        network: nn.Module,
        peers: Peers = ALONE,
        compression: str = "none",
        overlaps: bool = True,
    ) -> None:
        self._units = {name: layer.out_features for name, layer in split_layers(network).items()}
        self._split: set[Tensor] = set()
        super().__init__(network, peers, compression)

    def _summed(self, network: nn.Module) -> nn.Module:
        features: nn.Module = network.parted()[0]  # type: ignore[operator]
        return features

    def view(self, network: Module) -> Module:
        shown = copy.copy(network)
        shown._modules = {
            name: SplitLinear(module, self._peers) if name in self._units else module  # type: ignore[arg-type]
            for name, module in network._modules.items()
        }
        for name in self._units:
            self._split.update(shown.get_submodule(name).parameters())
        return shown

    def gather(self, network: nn.Module) -> None:
        for name in self._units:
            for parameter in network.get_submodule(name).parameters():
                self._peers.complete(parameter.data)

    def assemble(self, own: Tensor, total: int) -> Tensor:
        whole: Tensor = Gather.apply(own, total, 0, self._peers)
        return whole

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        self._sums.finish()
        return loss

    def norm(self, parameters: Sequence[Tensor], norm_here: Norm) -> Tensor:
        trained = [p for p in parameters if p.grad is not None]
        split = [p for p in trained if p in self._split]
        if not split:
            return norm_here(trained)

        squares = norm_here(split).square()
        self._peers.sum(squares)
        others = [p for p in trained if p not in self._split]
        return (squares + norm_here(others).square()).sqrt() if others else squares.sqrt()

    def whole_state(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._whole(name, tensor) for name, tensor in tensors.items()}

    def own_state(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._own(name, tensor) for name, tensor in tensors.items()}

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        units = self._units_of_state(name)
        if units is None or tensor.dim() == 0:  # a number, as AdamW's step, is everywhere the same
            return tensor
        whole = tensor.new_empty(units, *tensor.shape[1:])
        whole[self._peers.share.slice_of(units).rows] = tensor
        self._peers.complete(whole)
        return whole

    def _own(self, name: str, tensor: Tensor) -> Tensor:
        units = self._units_of_state(name)
        if units is None or tensor.dim() == 0 or len(tensor) != units:  # of another network
            return tensor
        return tensor[self._peers.share.slice_of(units).rows]

    def _units_of_state(self, name: str) -> int | None:
        """Return the units of the split layer that `optimizer.<layer>. ...` is of, else None."""
        prefix, _, rest = name.partition(".")
        return self._units.get(rest.partition(".")[0]) if prefix == "optimizer" else None


def split_layers(network: Any) -> dict[str, nn.Linear]:
    """Return the fully connected layers that are split: all but the one that gives the scores.

    network: has `layers` with roles. Raises UsageError where there are none, and for layers that
    the scheme cannot compute as one process does.
    """
    layers = list(network.layers)
    roles = [layer.role for layer in layers]
    if "flatten" not in roles:
        raise _refusal("its features become fully connected nowhere")

    place = roles.index("flatten")
    if "dropout" in roles[:place]:
        raise _refusal("dropout before the fully connected layers would differ between processes")

    after = [layer for layer in layers[place:] if layer.role in SCORING]
    found = {layer.name: layer.module for layer in after[:-1] if layer.role == "fc"}
    if not found:
        raise _refusal("it has no fully connected layer besides that of the scores")
    for name, module in found.items():
        if not isinstance(module, nn.Linear):
            raise _refusal(f"{name} is divided into groups and cannot be split by units")
    return found


def _refusal(why: str) -> UsageError:
    return UsageError(
        f"distributed.scheme=hybrid does not fit this network: {why}",
        hint="distributed.scheme=data, or a network with hidden fully connected layers",
    )
