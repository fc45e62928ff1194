"""The learning rate range test: rates that grow over a run, and what the loss says of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum, inf, isfinite, log10
from typing import Any

import torch
from torch import Tensor

from cnnlab.config.schedules import RangeTestScheduleConfig
from cnnlab.training.loop import Hook, StepReport, TrainState
from cnnlab.training.schedules import Schedule

WINDOWS = 10
"""Windows of updates that a test is divided into: what is smoothed and fitted over one."""

FEWEST_IN_WINDOW = 4
EXPLODED = 4.0
"""Multiple of the smallest mean loss so far, over half a window, at which a test ends."""


class RangeTest(Schedule):
    """Rates that grow by the same factor at every update; the loss of each update is kept.

    The test ends early once the mean loss of half a window is EXPLODED times the smallest one, or a
    loss or gradient is not finite. A group of `optimizer.groups` with a schedule of its own keeps
    that. The host waits for the device at every update. Source: Smith 2017 (cyclical learning
    rates), section 3.3, where the rates grow linearly; growing exponentially, and the rules for the
    end and for what is suggested, are ours.
    """

    def __init__(self, first: float, last: float, total_steps: int) -> None:
        growth = (last / first) ** (1 / max(1, total_steps - 1))
        super().__init__(lambda step: first * growth**step)
        self.window = max(FEWEST_IN_WINDOW, total_steps // WINDOWS)
        self.losses: list[float] = []
        self._lowest = inf

    def hooks(self, forgive: Callable[[], None]) -> list[Hook]:
        def watch(state: TrainState, report: StepReport) -> None:
            loss = float(report.loss)
            if not isfinite(loss + float(report.gradient_norm)):
                forgive()
            else:
                self.losses.append(loss)
                if not self._has_exploded():
                    return
            factor = self.rate_at(state.step - 1)
            state.stop_reason = f"the loss exploded at {factor:.3g} times optimizer.learning_rate"

        return [watch]

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for loss in state["losses"]:
            self.losses.append(float(loss))
            self._has_exploded()

    def _has_exploded(self) -> bool:
        """Compare the mean loss of the last updates with the smallest such mean so far."""
        span = self.window // 2
        if len(self.losses) < span:
            return False
        mean = fsum(self.losses[-span:]) / span
        self._lowest = min(self._lowest, mean)
        return mean > EXPLODED * self._lowest


@dataclass(frozen=True)
class RateCurve:
    """The loss of a range test against the rate.

    rates: learning rates, ascending by a constant factor. smoothed: (rate, loss) for each window,
    at its middle. suggested: the rate at which the smoothed loss falls fastest per decade of the
    rate, before its minimum; None where it never falls by more than it scatters.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[tuple[float, float]]
    suggested: float | None


def curve_of(rates: Sequence[float], losses: Sequence[float], window: int) -> RateCurve:
    """Return the curve of a test: its smoothed loss, and the rate that it suggests.

    Each window of consecutive updates gives a point, its mean loss, and a slope, that of the
    straight line through its losses by least squares.
    """
    rates, losses = list(rates)[: len(losses)], list(losses)
    if len(losses) < 2 * window:
        return RateCurve(rates, losses, [], None)

    windows = torch.tensor(losses, dtype=torch.float64).unfold(0, window, 1)
    decades = torch.tensor([log10(rate) for rate in rates], dtype=torch.float64)
    places = decades.unfold(0, window, 1)
    middles, means = places.mean(1), windows.mean(1)
    centered = places - middles[:, None]
    slopes = (windows * centered).sum(1) / centered.square().sum(1)

    lowest = int(means.argmin())
    steepest = int(slopes[: lowest + 1].argmin())
    found = float(10 ** middles[steepest]) if _falls(windows, lowest) else None
    points = list(zip((10**middles).tolist(), means.tolist(), strict=True))
    return RateCurve(rates, losses, points, found)


def _falls(windows: Tensor, lowest: int) -> bool:
    """Return whether the loss falls, from the first window on, by more than it scatters there."""
    return bool(windows[0].mean() - windows[lowest].mean() > windows[0].std())


def build_range_test(
    config: RangeTestScheduleConfig, steps_per_epoch: int, total_steps: int
) -> RangeTest:
    return RangeTest(config.first_fraction, config.last_fraction, total_steps)
