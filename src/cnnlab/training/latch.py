"""Notice a non-finite loss or gradient on the device, without waiting for it at every step."""

from math import isfinite

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnlab.errors import NumericsError
from cnnlab.training.loop import TrainState


class Latch:
    """A flag on the device that closes at the first non-finite loss or gradient norm.

    While closed, every update rule skips its update on the device, so the parameters and their
    momenta stay those of the last good step; torch's own rules do so in their fused form, and
    raise in the others. The host looks at it in `check`: every n steps and before each save.
    """

    def __init__(self, device: torch.device) -> None:
        self._poison = torch.zeros((), device=device)  # 0, from the first bad figure on nan
        self._closed = torch.zeros((), device=device)  # 0, then 1: what update rules read
        self._history: list[tuple[Tensor, Tensor, float]] = []

    def watch(self, loss: Tensor, gradient_norm: Tensor, optimizer: Optimizer) -> None:
        """Take in one step's figures; call it before the update. Nothing waits for the device."""
        self._poison.add_(loss + gradient_norm, alpha=0)  # 0 times nan or infinity is nan
        self._history.append((loss, gradient_norm, optimizer.param_groups[0]["lr"]))
        torch.ne(self._poison, 0, out=self._closed)
        optimizer.grad_scale, optimizer.found_inf = None, self._closed  # type: ignore[attr-defined]

    def check(self, state: TrainState) -> None:
        """Wait for the device; raise NumericsError with step, loss and rate when closed."""
        history, self._history = self._history, []
        if float(self._poison) == 0:
            return
        bad = (
            (place, float(loss), rate)
            for place, (loss, norm, rate) in enumerate(history)
            if not isfinite(loss + norm)
        )
        place, loss, rate = next(bad)
        raise NumericsError(
            "the loss or its gradient is not finite "
            f"at step {state.step - len(history) + place}: loss {loss:g}",
            f"learning rate {rate:g}",
            "lower optimizer.learning_rate, or set trainer.clip_gradient_norm",
        )
