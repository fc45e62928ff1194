"""Detect a non-finite loss or gradient on the device, without waiting for it at every step."""

from math import isfinite

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnlab.errors import NumericsError
from cnnlab.runtime import to_device
from cnnlab.training.loop import TrainState


class NonFiniteGuard:
    """Skip every update from the first non-finite loss or gradient norm on.

    The flag is on the device, under the name `found_inf` that torch's gradient scaler uses: with 1
    in it every update rule leaves parameters and state as they are; torch's own rules do so in
    their fused form, and raise in the others. The host reads it in `check`: every n steps and
    before each save.
    """

    def __init__(self, device: torch.device) -> None:
        self._zero_or_nan = torch.zeros((), device=device)  # nan after a non-finite value
        self._found_inf = torch.zeros((), device=device)  # 1 after a non-finite value
        self._is_on_gpu = device.type != "cpu"
        self._history: list[tuple[Tensor, Tensor, float]] = []

    def look(self, loss: Tensor, gradient_norm: Tensor) -> None:
        """Raise the flag if one of a step's numbers is not finite. Nothing waits for the device."""
        self._zero_or_nan.add_(loss + gradient_norm, alpha=0)  # 0 times nan or infinity is nan
        torch.ne(self._zero_or_nan, 0, out=self._found_inf)

    def note(self, loss: Tensor, gradient_norm: Tensor, optimizer: Optimizer) -> None:
        """Show the flag to the optimizer before its update, and keep what `check` would report."""
        self.show(optimizer)
        self._history.append((loss, gradient_norm, optimizer.param_groups[0]["lr"]))

    def show(self, optimizer: Optimizer) -> None:
        """Show the flag to the optimizer before an update.

        Nothing waits, but where one of two towers is on the CPU, which waits for the other anyway.
        """
        # where torch's fused optimizers look whether to skip the update
        flag = self._found_inf
        if self._is_on_gpu and _has_weights_on_cpu(optimizer):
            # torch's optimizers would copy it there without waiting for it
            flag = to_device(flag, torch.device("cpu"))
        optimizer.grad_scale, optimizer.found_inf = None, flag  # type: ignore[attr-defined]

    def forgive(self) -> None:
        """Forget a value that was not finite; its update was skipped, and training may go on."""
        self._history = []
        self._zero_or_nan.zero_()

    def check(self, state: TrainState) -> None:
        """Wait for the device; raise NumericsError with the first bad step, its loss and rate."""
        history, self._history = self._history, []
        if float(self._zero_or_nan) == 0:
            return

        first_step = state.step - len(history)
        step, loss, rate = next(
            (first_step + place, float(loss), rate)
            for place, (loss, norm, rate) in enumerate(history)
            if not isfinite(loss + norm)
        )
        raise NumericsError(
            f"the loss or its gradient is not finite at step {step}: loss {loss:g}",
            f"learning rate {rate:g}",
            "lower optimizer.learning_rate, or set trainer.clip_gradient_norm",
        )


def _has_weights_on_cpu(optimizer: Optimizer) -> bool:
    """Return whether there is a group on the CPU; the parameters of a group share a device."""
    return any(group["params"][0].device.type == "cpu" for group in optimizer.param_groups)
