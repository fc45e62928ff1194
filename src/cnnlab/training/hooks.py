"""What happens every n steps: validation and what follows from it, running figures, stopping.

Hooks take (state, report). They use no training randomness and leave the model in train mode. What
must survive a resume is plain JSON behind `state_dict` and `load_state_dict`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.training.loop import Hook, StepReport, TrainState
from cnnlab.training.schedules import Schedule

Figures = dict[str, float]
Listener = Callable[[TrainState, Figures], None]


@dataclass
class Every:
    """Act after every `steps` updates, and after update number `last_step` when it is given."""

    steps: int
    action: Hook
    last_step: int | None = None

    def __call__(self, state: TrainState, report: StepReport) -> None:
        if state.step % self.steps == 0 or state.step == self.last_step:
            self.action(state, report)


@dataclass
class EveryMinutes:
    """Act at the first update after each `minutes` of wall-clock time."""

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
    """Measure the model and tell the listeners, in order; the model returns to train mode.

    measure: model -> figures, `top1_error` (a fraction) among them. `figures` keeps the last ones.
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
    """The smallest validation error so far; `improved` tells of the last validation."""

    error: float | None = None
    step: int = 0
    improved: bool = False

    def __call__(self, state: TrainState, figures: Figures) -> None:
        self.improved = self.error is None or figures["top1_error"] < self.error
        if self.improved:
            self.error, self.step = figures["top1_error"], state.step

    def state_dict(self) -> dict[str, Any]:
        """Return error and step as plain JSON."""
        return {"error": self.error, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.error, self.step = state["error"], int(state["step"])


@dataclass
class EarlyStop:
    """Stop when `best` is `patience_steps` updates old; it reads what `Best` keeps.

    It stands behind `best` among the listeners and has no memory of its own.
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
    """Return a listener that shows the validation error to `schedule` (only plateau looks)."""

    def listener(state: TrainState, figures: Figures) -> None:
        schedule.observe(figures["top1_error"], state.step)

    return listener


class RunningLoss:
    """The mean loss per image since the last `read`; added up on the device in float64."""

    def __init__(self, device: torch.device) -> None:
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self._num_images = 0

    def __call__(self, state: TrainState, report: StepReport) -> None:
        self._sum.add_(report.loss, alpha=report.num_images)
        self._num_images += report.num_images

    def read(self) -> float:
        """Wait for the device, return the mean (nan without images) and start anew."""
        mean = float(self._sum) / self._num_images if self._num_images else float("nan")
        self._sum.zero_()
        self._num_images = 0
        return mean

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint in the middle of an epoch keeps."""
        return {
            "running_loss.sum": self._sum,
            "running_loss.num_images": torch.tensor(self._num_images),
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self._sum.copy_(tensors["running_loss.sum"])
        self._num_images = int(tensors["running_loss.num_images"])
