"""What the experiments train with does not move when a default does."""

import json
from typing import Any

import pytest

from cnnlab.config import choices
from tests.golden import experiments

HELD: dict[str, dict[str, Any]] = json.loads(experiments.FILE.read_text(encoding="utf-8"))
"""Every experiment as it was composed before models had recipes (commit 9c9494a)."""

YOUNGER: dict[str, Any] = {
    "model.width": 1.0,
    "dataset.on_bad": "fail",
    "dataset.train_subset": None,
    "loss.label_smoothing": 0.0,
    "ema.decay": None,
    "which_weights": "raw",
    "model.which_weights": None,
    "loss.class_weights": None,
}
"""Settings that came after the file was written, at the value that changes nothing."""

MOVED: dict[str, dict[str, Any]] = {"debug": {"trainer.clip_gradient_norm": 1.0}}
"""What was changed on purpose since then: experiment -> setting -> its value now.

`debug` names no values of its own: it tries out whatever training defaults to.
"""


def flat(plain: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return dotted keys and their values."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{where}{key}.") if inner else {f"{where}{key}": value}
    return found


@pytest.mark.parametrize("experiment", HELD)
def test_an_experiment_trains_with_what_it_did(experiment: str) -> None:
    now, held = flat(experiments.composed(experiment)), flat(HELD[experiment])

    younger = {key: value for key, value in YOUNGER.items() if key in now}
    assert now == held | younger | MOVED.get(experiment, {})


def test_no_experiment_is_left_out() -> None:
    assert set(choices.choices("experiment")) >= set(HELD)
