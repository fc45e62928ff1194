"""Sum the gradients of all processes while the backward pass is still running."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.distributed.peers import Peers

COMPRESSIONS: dict[str, torch.dtype | None] = {"none": None, "bf16": torch.bfloat16}
"""How gradients are sent: as they are, or rounded to 8 bits of mantissa for half the bytes."""


class GradientSum:
    """Sums gradients and losses over the processes; each process keeps its plain module.

    Each process's loss is a sum over its rows divided by the count of the global batch, so the sum
    is the gradient of the global mean, whatever the rows' shares.

    overlap_with: a model with one backward pass per update; the sum of each of its parameters
    starts when its gradient is ready, later layers first, during the rest of the backward pass.
    None: all sums start after it (for batches computed in parts). num_bytes: sent by this process
    per direction so far.
    """

    def __init__(
        self, peers: Peers, compression: str = "none", overlap_with: nn.Module | None = None
    ) -> None:
        self._peers = peers
        self._dtype = COMPRESSIONS[compression]
        self._pending: list[tuple[Tensor, Tensor, Any]] = []
        self._overlaps = overlap_with is not None
        self.num_bytes = 0

        if overlap_with is not None:
            for parameter in (p for p in overlap_with.parameters() if p.requires_grad):
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
        self.finish()
        self._peers.finish(work)
        return total

    def finish(self) -> None:
        """Complete the sums that have been started, in place of each gradient."""
        for gradient, sent, gradient_work in self._pending:
            self._peers.finish(gradient_work)
            if sent is not gradient:
                gradient.copy_(sent)
        self._pending.clear()

    def _start(self, parameter: Tensor) -> None:
        if parameter.grad is None or self._peers.size == 1:
            return
        sent = parameter.grad if self._dtype is None else parameter.grad.to(self._dtype)
        self.num_bytes += sent.numel() * sent.element_size()
        self._pending.append((parameter.grad, sent, self._peers.start_sum(sent)))
