"""Rates: ends, corners and monotony of each schedule; the plateau's memory."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab.config.schedules import (
    SCHEDULES,
    CosineScheduleConfig,
    OneCycleScheduleConfig,
    PlateauScheduleConfig,
    RangeTestScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
    TableScheduleConfig,
)
from cnnlab.training import schedules

CONFIGS: dict[str, ScheduleConfig] = {
    "constant": ScheduleConfig(name="constant"),
    "step": StepScheduleConfig(name="step", at_epochs=[2, 3.5], factor=0.1),
    "cosine": CosineScheduleConfig(name="cosine", warmup_epochs=1, final_fraction=0.2),
    "one_cycle": OneCycleScheduleConfig(
        name="one_cycle", peak_fraction=0.3, start_fraction=0.1, final_fraction=0.0
    ),
    "table": TableScheduleConfig(name="table", at_epochs=[2, 3], fractions=[1.0, 0.4, 0.1]),
    "plateau": PlateauScheduleConfig(name="plateau", factor=0.5, patience_epochs=1, max_drops=2),
    "range_test": RangeTestScheduleConfig(
        name="range_test", first_fraction=0.01, last_fraction=1.0
    ),
}
HAVE_STATE = ("plateau", "range_test")


def test_every_configured_schedule_is_built() -> None:
    assert SCHEDULES.keys() == CONFIGS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_factors_stay_above_zero_and_at_most_one(name: str) -> None:
    schedule = schedules.build(CONFIGS[name], 10, 50)
    assert all(0 < schedule.rate_at(step) <= 1 + 1e-12 for step in range(50))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in HAVE_STATE])
def test_all_others_depend_on_the_step_alone(name: str) -> None:
    used, fresh = (schedules.build(CONFIGS[name], 10, 50) for _ in range(2))
    for step in range(0, 50, 3):
        used.rate_at(step)
        used.observe(0.5, step)
    assert used.state_dict() == {}
    assert [used.rate_at(step) for step in range(50)] == [fresh.rate_at(s) for s in range(50)]


def test_step_schedule_drops_at_its_epochs() -> None:
    schedule = schedules.build(CONFIGS["step"], 10, 50)
    factors = [schedule.rate_at(step) for step in (0, 19, 20, 34, 35, 49)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_rises_to_one_and_falls_to_its_fraction() -> None:
    schedule = schedules.build(CONFIGS["cosine"], 10, 50)
    assert [schedule.rate_at(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1, 1])
    assert schedule.rate_at(30) == pytest.approx(0.6)  # half way between 1 and 0.2
    assert schedule.rate_at(50) == pytest.approx(0.2)


def test_one_cycle_goes_up_and_down_in_straight_lines() -> None:
    schedule = schedules.build(CONFIGS["one_cycle"], 10, 50)
    at_steps = [schedule.rate_at(step) for step in (0, 15, 50)]
    assert at_steps == pytest.approx([0.1, 1, 0], abs=1e-12)
    rises = [schedule.rate_at(s + 1) - schedule.rate_at(s) for s in range(15)]
    falls = [schedule.rate_at(s + 1) - schedule.rate_at(s) for s in range(15, 50)]
    assert rises == pytest.approx([0.06] * 15)
    assert falls == pytest.approx([-1 / 35] * 35)


@given(warmup_steps=st.integers(0, 30), total_steps=st.integers(1, 60), final=st.floats(0, 1))
def test_cosine_never_rises_after_the_warm_up(
    warmup_steps: int, total_steps: int, final: float
) -> None:
    factors = [
        schedules.cosine_factor(
            step, warmup_steps=warmup_steps, total_steps=total_steps, final=final
        )
        for step in range(warmup_steps, total_steps)
    ]
    assert factors == sorted(factors, reverse=True)


def plateau(patience_epochs: int = 1, max_drops: int = 2) -> schedules.Schedule:
    config = PlateauScheduleConfig(
        name="plateau", factor=0.5, patience_epochs=patience_epochs, max_drops=max_drops
    )
    return schedules.build(config, 10, 1000)


def factors_after(schedule: schedules.Schedule, errors: list[float]) -> list[float]:
    factors = []
    for epoch, error in enumerate(errors, start=1):
        schedule.observe(error, 10 * epoch)
        factors.append(schedule.rate_at(10 * epoch))
    return factors


def test_plateau_waits_out_its_patience_then_drops() -> None:
    errors = [0.5, 0.4, 0.4, 0.4, 0.3, 0.35, 0.3, 0.3, 0.3]
    assert factors_after(plateau(), errors) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_plateau_without_patience_drops_at_once() -> None:
    assert factors_after(plateau(patience_epochs=0), [0.5, 0.5]) == [1, 0.5]


def test_plateau_drops_no_more_often_than_allowed() -> None:
    assert factors_after(plateau(max_drops=1), [0.5] * 20)[-1] == 0.5


@pytest.mark.parametrize("cut", range(9))
def test_plateau_continues_from_json_at_every_epoch(cut: int) -> None:
    errors = [0.5, 0.4, 0.4, 0.4, 0.3, 0.35, 0.3, 0.3, 0.3]
    whole = factors_after(plateau(), errors)
    before, after = plateau(), plateau()
    for epoch, error in enumerate(errors[:cut], start=1):
        before.observe(error, 10 * epoch)
    after.load_state_dict(json.loads(json.dumps(before.state_dict(), allow_nan=False)))
    for epoch, error in enumerate(errors[cut:], start=cut + 1):
        after.observe(error, 10 * epoch)
        assert after.rate_at(10 * epoch) == whole[epoch - 1]
