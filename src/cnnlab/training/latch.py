"""Notice a non-finite loss or gradient on the device, without waiting for it at every step."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnlab.errors import NumericsError
from cnnlab.training.loop import TrainState


class Latch:
    """A flag on the device that closes at the first non-finite loss or gradient norm.

    While closed, fused optimizers skip their update on the device, so the parameters and their
    momenta stay those of the last good step. The host looks at it in `check`: every n steps and
    before each save.
    """

    def __init__(self, device: torch.device) -> None:
        self._closed = torch.zeros((), device=device)
        self._good_steps = torch.zeros((), device=device)
        self._loss = torch.zeros((), device=device)
        self._rates: list[float] = []

    def watch(self, loss: Tensor, gradient_norm: Tensor, optimizer: Optimizer) -> None:
        """Take in one step's figures; call it before the update. Nothing waits for the device."""
        self._loss = torch.where(self._closed > 0, self._loss, loss)
        finite = torch.isfinite(loss + gradient_norm)
        self._closed = torch.where(finite, self._closed, 1.0)
        self._good_steps += 1 - self._closed
        self._rates.append(optimizer.param_groups[0]["lr"])
        if optimizer.param_groups[0].get("fused"):
            optimizer.grad_scale, optimizer.found_inf = None, self._closed  # type: ignore[attr-defined]

    def check(self, state: TrainState) -> None:
        """Wait for the device; raise NumericsError with step, loss and rate when closed."""
        rates, self._rates = self._rates, []
        good_steps = int(self._good_steps)
        self._good_steps.zero_()
        if good_steps == len(rates):
            return
        step = state.step - len(rates) + good_steps
        raise NumericsError(
            f"the loss or its gradient is not finite at step {step}: loss {float(self._loss):g}",
            f"learning rate {rates[good_steps]:g}",
            "lower optimizer.learning_rate, or set trainer.clip_gradient_norm",
        )
