"""Hooks of the training loop: actions every n steps, validation, early stopping, running loss.

A hook is called with (state, report) after each update. It uses no training randomness and leaves
the model in train mode. What a resume must restore is plain JSON: `state_dict`, `load_state_dict`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.mps import widest_float
from cnnlab.training.loop import Hook, StepReport, TrainState
from cnnlab.training.schedules import Schedule

Figures = dict[str, float]
"""Metrics of a validation by name, `top1_error` (a fraction) among them."""

Listener = Callable[[TrainState, Figures], None]
"""Called with the metrics of each validation."""


@dataclass
class Every:
    """Call `action` every `steps` updates, and after update number `last_step` if one is given."""

    steps: int
    action: Hook
    last_step: int | None = None

    def __call__(self, state: TrainState, report: StepReport) -> None:
        if state.step % self.steps == 0 or state.step == self.last_step:
            self.action(state, report)


@dataclass
class EveryMinutes:
    """Call `action` at the first update after each `minutes` of wall-clock time."""

    minutes: float
    action: Hook
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None, init=False)

    def __call__(self, state: TrainState, report: StepReport) -> None:
        now = self.clock()
        if self._since is None:
            self._since = now
        elif now - self._since >= 60 * self.minutes:
            self._since = now
            self.action(state, report)


@dataclass
class Validate:
    """Evaluate the model and pass the metrics to the listeners, in order.

    measure: model -> metrics; it gets the model in eval mode, which then returns to train mode.
    figures: the metrics of the last validation.
    """

    measure: Callable[[nn.Module], Figures]
    listeners: Sequence[Listener]
    figures: Figures = field(default_factory=dict, init=False)

    def __call__(self, state: TrainState, report: StepReport | None = None) -> None:
        state.model.eval()
        try:
            self.figures = self.measure(state.model)
        finally:
            state.model.train()

        for listener in self.listeners:
            listener(state, self.figures)


@dataclass
class Best:
    """Track the smallest validation error; `improved`: whether the last validation reached it."""

    error: float | None = None
    step: int = 0
    improved: bool = False

    def __call__(self, state: TrainState, figures: Figures) -> None:
        self.improved = self.error is None or figures["top1_error"] < self.error
        if self.improved:
            self.error, self.step = figures["top1_error"], state.step

    def forget(self) -> None:
        """Take the next validation as the best so far, whatever its error."""
        self.error = None

    def state_dict(self) -> dict[str, Any]:
        """Return error and step, as plain JSON."""
        return {"error": self.error, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.error, self.step = state["error"], int(state["step"])


@dataclass
class EarlyStop:
    """Stop training when the validation error has not improved for `patience_steps` updates.

    best: a listener that is called before this one; early stopping keeps no state of its own.
    """

    best: Best
    patience_steps: int

    def __call__(self, state: TrainState, figures: Figures) -> None:
        waited_steps = state.step - self.best.step
        if waited_steps >= self.patience_steps:
            state.stop_reason = (
                f"no better validation error in {waited_steps} steps, "
                f"best {self.best.error:.2%} at step {self.best.step}"
            )


def drop_rate(schedule: Schedule) -> Listener:
    """Return a listener that passes the validation error to `schedule`; only plateau uses it."""

    def listener(state: TrainState, figures: Figures) -> None:
        schedule.observe(figures["top1_error"], state.step)

    return listener


class RunningLoss:
    """The mean loss per image since the last `read`, summed on the device in its widest type."""

    def __init__(self, device: torch.device) -> None:
        self._sum = torch.zeros((), dtype=widest_float(device), device=device)
        self._num_images = 0

    def __call__(self, state: TrainState, report: StepReport) -> None:
        self._sum.add_(report.loss, alpha=report.num_images)
        self._num_images += report.num_images

    def read(self) -> float:
        """Wait for the device, return the mean (nan without images) and reset."""
        mean = float(self._sum) / self._num_images if self._num_images else float("nan")
        self._sum.zero_()
        self._num_images = 0
        return mean

    def tensors(self) -> dict[str, Tensor]:
        """Return the state that a checkpoint in the middle of an epoch holds."""
        return {
            "running_loss.sum": self._sum,
            "running_loss.num_images": torch.tensor(self._num_images),
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` returned."""
        self._sum.copy_(tensors["running_loss.sum"])
        self._num_images = int(tensors["running_loss.num_images"])
