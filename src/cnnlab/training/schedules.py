"""Learning rate schedules: a factor of each parameter group's base rate, at every step.

Every schedule but plateau is a pure function of the step. All have the same methods, so the loop,
the validation hook and the checkpoint need not know which one it is.
"""

import math
from collections.abc import Callable
from typing import Any

from cnnlab.config.schedules import (
    SCHEDULES,
    CosineScheduleConfig,
    OneCycleScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
    TableScheduleConfig,
)
from cnnlab.training.loop import Hook


class Schedule:
    """A learning rate that depends on the step alone; it has no state."""

    def __init__(self, factor_at: Callable[[int], float]) -> None:
        self._factor_at = factor_at

    def rate_at(self, step: int) -> float:
        """Return the factor for update number `step`, counted from 0."""
        return self._factor_at(step)

    def observe(self, validation_error: float, step: int) -> None:
        """Record a validation error (a fraction) measured after `step` updates."""

    def hooks(self, forgive: Callable[[], None]) -> list[Hook]:
        """Return what the schedule itself does after each update; most do nothing.

        forgive: forgets a loss or gradient that was not finite, so that it is no error.
        """
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return what cannot be computed from the step, as plain JSON."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Plateau(Schedule):
    """Multiply the rate by `factor` when the validation error stops improving.

    Any smaller error is an improvement. After a drop the patience is counted from there.
    Source: Krizhevsky et al. 2012, section 5: divided by 10 when the validation error rate
    stopped improving, three times in total. They did it by hand; the patience is ours.
    """

    def __init__(self, factor: float, patience_steps: int, max_drops: int) -> None:
        super().__init__(lambda step: factor**self.drops)
        self.patience_steps, self.max_drops = patience_steps, max_drops
        self.drops, self.since_step = 0, 0
        self.best_error: float | None = None

    def observe(self, validation_error: float, step: int) -> None:
        if self.best_error is None or validation_error < self.best_error:
            self.best_error, self.since_step = validation_error, step
        elif step - self.since_step > self.patience_steps and self.drops < self.max_drops:
            self.drops, self.since_step = self.drops + 1, step

    def state_dict(self) -> dict[str, Any]:
        return {
            "drops": self.drops,
            "since_step": self.since_step,
            "best_error": self.best_error,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drops, self.since_step = int(state["drops"]), int(state["since_step"])
        self.best_error = state["best_error"]


def step_factor(step: int, *, drop_steps: list[int], factor: float) -> float:
    """Return `factor` to the power of the number of drops at or before `step`."""
    return factor ** sum(step >= drop for drop in drop_steps)


def cosine_factor(step: int, *, warmup_steps: int, total_steps: int, final: float) -> float:
    """Return a linear warmup that ends at 1 after `warmup_steps`, then half a cosine to `final`.

    The first step already has a rate above zero; the value `final` is reached one step after the
    last. Source: Loshchilov and Hutter 2017 (SGDR), equation 5, one period.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle_factor(
    step: int, *, peak_step: float, total_steps: int, start: float, final: float
) -> float:
    """Return straight lines from `start` to 1 at `peak_step` and to `final` at `total_steps`."""
    if step < peak_step:
        return start + (1 - start) * step / peak_step
    progress = min(1.0, (step - peak_step) / max(1e-9, total_steps - peak_step))
    return 1 + (final - 1) * progress


def build_constant(config: ScheduleConfig, steps_per_epoch: int, total_steps: int) -> Schedule:
    return Schedule(lambda step: 1.0)


def build_step(config: StepScheduleConfig, steps_per_epoch: int, total_steps: int) -> Schedule:
    drop_steps = [round(epoch * steps_per_epoch) for epoch in config.at_epochs]
    return Schedule(lambda step: step_factor(step, drop_steps=drop_steps, factor=config.factor))


def build_table(config: TableScheduleConfig, steps_per_epoch: int, total_steps: int) -> Schedule:
    drop_steps = [round(epoch * steps_per_epoch) for epoch in config.at_epochs]
    return Schedule(lambda step: config.fractions[sum(step >= drop for drop in drop_steps)])


def build_cosine(config: CosineScheduleConfig, steps_per_epoch: int, total_steps: int) -> Schedule:
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    return Schedule(
        lambda step: cosine_factor(
            step,
            warmup_steps=warmup_steps,
            total_steps=total_steps,
            final=config.final_fraction,
        )
    )


def build_one_cycle(
    config: OneCycleScheduleConfig, steps_per_epoch: int, total_steps: int
) -> Schedule:
    return Schedule(
        lambda step: one_cycle_factor(
            step,
            peak_step=config.peak_fraction * total_steps,
            total_steps=total_steps,
            start=config.start_fraction,
            final=config.final_fraction,
        )
    )


def build_plateau(
    config: PlateauScheduleConfig, steps_per_epoch: int, total_steps: int
) -> Schedule:
    return Plateau(config.factor, config.patience_epochs * steps_per_epoch, config.max_drops)


def build(config: ScheduleConfig, steps_per_epoch: int, total_steps: int) -> Schedule:
    """Return the schedule that `config.name` selects, for a run of `total_steps` updates."""
    schedule: Schedule = SCHEDULES[config.name].load()(config, steps_per_epoch, total_steps)
    return schedule
