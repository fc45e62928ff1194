"""Hooks: when they act, what state validation leaves, and what a resume restores."""

import json
import math

import pytest
import torch
from torch import nn

from cnnlab.training.hooks import (
    Best,
    EarlyStop,
    Every,
    EveryMinutes,
    Figures,
    RunningLoss,
    Validate,
    drop_rate,
)
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.schedules import Plateau

CPU = torch.device("cpu")


def new_state() -> TrainState:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    return TrainState(model, torch.optim.SGD(model.parameters()))


def report(loss: float = 1.0, num_images: int = 4) -> StepReport:
    return StepReport(torch.tensor(loss), torch.tensor(0.0), num_images)


@pytest.mark.parametrize(
    ("steps", "last_step", "acted"),
    [(3, None, [3, 6, 9]), (4, 10, [4, 8, 10]), (5, 10, [5, 10]), (99, None, [])],
)
def test_every_acts_on_multiples_and_once_at_the_end(
    steps: int, last_step: int | None, acted: list[int]
) -> None:
    state, seen = new_state(), []
    hook = Every(steps, lambda state, report: seen.append(state.step), last_step=last_step)
    for state.step in range(1, 11):
        hook(state, report())
    assert seen == acted


def test_every_minutes_follows_the_clock() -> None:
    times = iter([0.0, 50.0, 60.0, 61.0, 130.0, 200.0])
    state, seen = new_state(), []
    hook = EveryMinutes(1, lambda state, report: seen.append(state.step), clock=lambda: next(times))
    for state.step in range(1, 7):
        hook(state, report())
    assert seen == [3, 5, 6]


def validate(errors: list[float], *listeners: object) -> tuple[TrainState, Validate]:
    """Run one validation after every ten steps, with the given errors, until stopped."""
    state, remaining = new_state(), iter(errors)

    def measure(model: nn.Module) -> Figures:
        assert not model.training
        return {"top1_error": next(remaining), "cross_entropy": 0.5}

    hook = Validate(measure, listeners)  # type: ignore[arg-type]
    for number in range(1, len(errors) + 1):
        state.step = 10 * number
        hook(state, report())
        if state.stop_reason:
            break
    return state, hook


def test_validation_measures_in_eval_mode_and_returns_to_train_mode() -> None:
    state, hook = validate([0.25])
    assert state.model.training
    assert hook.figures == {"top1_error": 0.25, "cross_entropy": 0.5}


def test_validation_returns_to_train_mode_when_measuring_fails() -> None:
    def measure(model: nn.Module) -> Figures:
        raise OSError("no space left")

    state = new_state()
    with pytest.raises(OSError, match="no space"):
        Validate(measure, [])(state, report())
    assert state.model.training


def test_listeners_get_every_validation_in_order() -> None:
    heard: list[tuple[str, int, float]] = []

    def listener(name: str) -> object:
        return lambda state, figures: heard.append((name, state.step, figures["top1_error"]))

    validate([0.5, 0.4], listener("a"), listener("b"))
    assert heard == [("a", 10, 0.5), ("b", 10, 0.5), ("a", 20, 0.4), ("b", 20, 0.4)]


def test_best_keeps_the_first_of_the_smallest_errors() -> None:
    improved: list[bool] = []
    best = Best()
    validate([0.5, 0.3, 0.3, 0.4, 0.2], best, lambda state, figures: improved.append(best.improved))
    assert improved == [True, True, False, False, True]
    assert (best.error, best.step) == (0.2, 50)


def test_early_stop_waits_out_its_patience() -> None:
    best = Best()
    state, _ = validate([0.5, 0.3, 0.4, 0.4, 0.1], best, EarlyStop(best, patience_steps=20))
    assert state.step == 40
    assert state.stop_reason == "no better validation error in 20 steps, best 30.00% at step 20"


def test_early_stop_and_best_continue_from_json() -> None:
    before, after = Best(), Best()
    validate([0.5, 0.3], before)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    state = new_state()
    state.step = 40
    hook = Validate(lambda model: {"top1_error": 0.35}, [after, EarlyStop(after, 20)])
    hook(state, report())
    assert state.stop_reason is not None
    assert "at step 20" in state.stop_reason


def test_the_plateau_schedule_listens_to_validation() -> None:
    schedule = Plateau(factor=0.1, patience_steps=0, max_drops=3)
    validate([0.5, 0.5, 0.4], drop_rate(schedule))
    assert schedule.rate_at(0) == 0.1


def test_running_loss_weighs_images_not_batches() -> None:
    running = RunningLoss(CPU)
    for loss, num_images in ((1.0, 64), (4.0, 2)):
        running(new_state(), report(loss, num_images))
    assert running.read() == pytest.approx((64 + 8) / 66, rel=1e-12)
    assert math.isnan(running.read())


def test_running_loss_survives_a_checkpoint() -> None:
    before, after = RunningLoss(CPU), RunningLoss(CPU)
    before(new_state(), report(1.0, 3))
    after.load_tensors({name: tensor.clone() for name, tensor in before.tensors().items()})
    after(new_state(), report(2.0, 1))
    assert after.read() == pytest.approx(5 / 4, rel=1e-12)
