"""The range test: rates that grow, an end without an error, and what a curve suggests."""

import json
import math
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cnnlab.config.schedules import RangeTestScheduleConfig
from cnnlab.errors import UsageError
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.range_test import RangeTest, curve_of


def watched(losses: list[float], total: int = 100) -> tuple[RangeTest, list[str | None], int]:
    """Let a test see these losses; return it, its reasons to stop, and how often it forgave."""
    test, forgiven = RangeTest(1e-3, 1e3, total), []
    (watch,) = test.hooks(lambda: forgiven.append(1))
    optimizer: Any = SimpleNamespace(param_groups=[])
    state, reasons = TrainState(nn.Identity(), optimizer), []
    for loss in losses:
        state.step += 1
        watch(state, StepReport(torch.tensor(loss), torch.tensor(1.0), 1))
        reasons.append(state.stop_reason)
    return test, reasons, len(forgiven)


def test_rates_grow_by_the_same_factor_from_the_first_to_the_last() -> None:
    test = RangeTest(1e-4, 100.0, 301)
    rates = [test.rate_at(step) for step in range(301)]
    assert (rates[0], rates[-1]) == pytest.approx((1e-4, 100.0))
    assert [b / a for a, b in pairwise(rates)] == pytest.approx([10**0.02] * 300)


def test_rates_that_do_not_grow_are_refused() -> None:
    with pytest.raises(UsageError, match="not above"):
        RangeTestScheduleConfig(name="range_test", first_fraction=1.0, last_fraction=1.0)


def test_a_loss_that_explodes_ends_the_test() -> None:
    test, reasons, forgiven = watched([2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, *[9.0] * 5])
    assert reasons.index("the loss exploded at 0.00305 times optimizer.learning_rate") == 8
    assert forgiven == 0
    assert test.losses[:2] == [2.0, 1.0]


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_test_and_is_forgiven(loss: float) -> None:
    test, reasons, forgiven = watched([2.0, loss])
    assert str(reasons[-1]).startswith("the loss exploded")
    assert (test.losses, forgiven) == ([2.0], 1)


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_a_test_continues_from_json(cut: int) -> None:
    losses = [2.0, 1.0, 0.5, 0.6, 0.5, 0.7, 1.0, 2.0, 3.0, 4.0, 5.0]
    whole, reasons, _ = watched(losses)
    first, _, _ = watched(losses[:cut])
    restored = RangeTest(1e-3, 1e3, 100)
    restored.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    (watch,) = restored.hooks(lambda: None)
    state = TrainState(nn.Identity(), SimpleNamespace(param_groups=[]), cut)  # type: ignore[arg-type]
    later = []
    for loss in losses[cut:]:
        state.step += 1
        watch(state, StepReport(torch.tensor(loss), torch.tensor(1.0), 1))
        later.append(state.stop_reason)
    assert later == reasons[cut:]
    assert restored.losses == whole.losses


def falling(steepest: float, noise: float, number: int = 300) -> tuple[list[float], list[float]]:
    """Return rates over six decades, and a loss that falls from 2.3 to 0.3, fastest at a rate."""
    drawn = random.Random(0)
    rates = [10 ** (-5 + 6 * step / (number - 1)) for step in range(number)]
    losses = []
    for rate in rates:
        fallen = 2 / (1 + math.exp(-3 * math.log10(rate / steepest)))
        burst = 50 * max(0.0, math.log10(rate / (100 * steepest)))
        losses.append(2.3 - fallen + burst + drawn.gauss(0, noise))
    return rates, losses


@pytest.mark.parametrize("steepest", [1e-3, 1e-2, 3e-2])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_rate_of_the_steepest_descent_is_suggested(steepest: float, noise: float) -> None:
    curve = curve_of(*falling(steepest, noise), window=30)
    assert curve.suggested is not None
    assert abs(math.log10(curve.suggested / steepest)) < (0.02 if noise == 0 else 0.25)


def test_a_loss_that_only_scatters_suggests_nothing() -> None:
    rates, _ = falling(1e-2, 0.0)
    drawn = random.Random(1)
    assert curve_of(rates, [2.3 + drawn.gauss(0, 0.1) for _ in rates], window=30).suggested is None


def test_too_few_updates_suggest_nothing() -> None:
    rates, losses = falling(1e-2, 0.0)
    assert curve_of(rates, losses[:7], window=4).suggested is None
