"""Add the gradients of all processes up while the backward pass is still running."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.distributed.peers import Peers

COMPRESSIONS: dict[str, torch.dtype | None] = {"none": None, "bf16": torch.bfloat16}
"""How gradients travel: as they are, or rounded to 8 bits of mantissa for half the bytes."""


class GradientSum:
    """Sums gradients and losses over the processes; each process keeps its plain module.

    Each process's loss is a sum over its rows divided by the count of the global batch, so the sum
    is the global mean's gradient, whatever the rows' shares. With `attach` a parameter's sum starts
    when its gradient is ready, later layers first, under the rest of the backward pass; without,
    all sums start after it (for batches computed in parts). num_bytes: sent by this process per
    direction, counted.
    """

    def __init__(self, peers: Peers, compression: str = "none") -> None:
        self._peers = peers
        self._dtype = COMPRESSIONS[compression]
        self._under_way: list[tuple[Tensor, Tensor, Any]] = []
        self._overlaps = False
        self.num_bytes = 0

    def attach(self, model: nn.Module) -> None:
        """Start sums during the backward pass of `model`: one backward pass an update."""
        self._overlaps = True
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.register_post_accumulate_grad_hook(self._start)

    def __call__(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Complete the sums in place of each parameter's gradient; return the global loss."""
        if self._peers.size == 1:
            return loss
        if not self._overlaps:
            for parameter in parameters:
                self._start(parameter)
        total = loss.clone()
        work = self._peers.start_sum(total)
        for gradient, sent, gradient_work in self._under_way:
            self._peers.finish(gradient_work)
            if sent is not gradient:
                gradient.copy_(sent)
        self._under_way.clear()
        self._peers.finish(work)
        return total

    def _start(self, parameter: Tensor) -> None:
        if parameter.grad is None or self._peers.size == 1:
            return
        sent = parameter.grad if self._dtype is None else parameter.grad.to(self._dtype)
        self.num_bytes += sent.numel() * sent.element_size()
        self._under_way.append((parameter.grad, sent, self._peers.start_sum(sent)))
