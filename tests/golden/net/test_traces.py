"""Every model, update rule, augmentation, schedule and view computes what was written down."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.golden.net.cases import CONFIGS, EVALUATIONS, TRAININGS
from tests.golden.net.traces import FILE, Runs, Trace
from tests.golden.processor import processor

GOLDEN = json.loads(FILE.read_text())
IS_SAME_PROCESSOR = processor() == GOLDEN["processor"]

RELATIVE, RELATIVE_NORM, RELATIVE_SUM, ABSOLUTE = 1e-3, 1e-2, 0.05, 1e-4
"""Of losses, gradient norms and sums of tensors where bits differ: single roundings of 6e-8 grow
over eight updates, and a ReLU at zero that falls on the other side changes a whole gradient.
Measured with torch's and oneDNN's kernels for processors without AVX: at most 7e-5, 1.1e-3, 0.022.
"""
MOST_FLIPPED = 0.07
"""Of an error: two images of 32 may change sides."""
LOOSE = {"bf16": 0.05, "imagenet_2014": 0.05, "evaluate-bf16": 0.05}
"""Relative tolerance of cases whose arithmetic has 8 bits."""


GROUPS = ("model", "optimizer", "augment", "schedule", "evaluation")
TRIALS = {"range_test"}
"""Choices with which no network is validated or tested: tests/trainer/test_rate_finder.py."""


def variants_are_slow(cases: dict[str, str]) -> list[Any]:
    """Return the cases as parameters; the ensemble, and those that add no choice, are slow."""
    seen: set[str] = set()
    found: list[Any] = []
    for name, words in cases.items():
        choices = {word for word in words.split() if word.split("=")[0] in GROUPS}
        is_slow = choices <= seen or name == "ensemble"
        found.append(pytest.param(name, marks=[pytest.mark.slow] if is_slow else []))
        seen |= choices
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("traces"))


def test_every_case_has_a_golden_trace() -> None:
    assert list(GOLDEN["trainings"]) == list(TRAININGS)
    assert list(GOLDEN["evaluations"]) == list(EVALUATIONS)


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_a_group_is_in_a_case(group: str) -> None:
    typed = {
        word for words in (*TRAININGS.values(), *EVALUATIONS.values()) for word in words.split()
    }
    choices = {path.stem for path in (CONFIGS / group).glob("*.yaml")} - TRIALS
    assert choices
    assert not {choice for choice in choices if f"{group}={choice}" not in typed}


@pytest.mark.parametrize("case", variants_are_slow(TRAININGS))
def test_training_equals_the_golden_trace(case: str, runs: Runs) -> None:
    found = differences(GOLDEN["trainings"][case], runs.training(case), tolerance(case))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("case", variants_are_slow(EVALUATIONS))
def test_evaluation_equals_the_golden_trace(case: str, runs: Runs) -> None:
    found = differences(GOLDEN["evaluations"][case], runs.evaluation(case), tolerance(case))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("relative", [0.0, RELATIVE])
def test_what_differs_is_told(relative: float) -> None:
    golden = GOLDEN["trainings"]["lenet5"]
    assert not differences(golden, golden, relative)

    def spoiled(change: Callable[[Trace], Any]) -> list[str]:
        found = copy.deepcopy(golden)
        change(found)
        return differences(golden, found, relative)

    name = "model.c1.weight"
    first = float.fromhex(golden["figures"]["train/batch_loss"][0])
    assert spoiled(lambda t: t["figures"]["train/batch_loss"].pop())
    assert spoiled(lambda t: t["figures"]["train/batch_loss"].__setitem__(0, (1.01 * first).hex()))
    assert spoiled(lambda t: t["figures"].pop("test_error"))
    assert spoiled(lambda t: t["tensors"].pop(name))
    assert spoiled(lambda t: t["tensors"].update(more="0 0 0"))
    assert spoiled(lambda t: t["tensors"].update({name: "0 1 1"}))
    assert spoiled(lambda t: t["members"].append(golden))


def tolerance(case: str) -> float:
    """Return 0, for the same bits, on the processor type that wrote the traces."""
    return 0.0 if IS_SAME_PROCESSOR else LOOSE.get(case, RELATIVE)


def differences(golden: Trace, found: Trace, relative: float) -> list[str]:
    """Return one line for each figure and tensor that is not as written down.

    relative: 0 compares bits. A figure that is new is no difference, a tensor that is new is one.
    """
    lines = []
    for key, wanted in golden["figures"].items():
        given = found["figures"].get(key, "nothing")
        if not (is_close(key, wanted, given, relative) if relative else wanted == given):
            lines.append(f"{key} is {given}, was {wanted}")

    for name in sorted(golden["tensors"].keys() | found["tensors"].keys()):
        wanted, given = (trace["tensors"].get(name, "missing") for trace in (golden, found))
        if not (is_sum_close(wanted, given) if relative else wanted == given):
            lines.append(f"{name} is {given}, was {wanted}")

    members, given_members = golden.get("members", []), found.get("members", [])
    if len(members) != len(given_members):
        lines.append(f"{len(given_members)} members, were {len(members)}")
    for one, other in zip(members, given_members, strict=False):
        lines += differences(one, other, relative)
    return lines


def is_close(key: str, wanted: Any, given: Any, relative: float) -> bool:
    """Return whether a figure, or each of a list of them, is the same but for rounding."""
    if isinstance(wanted, list):
        if not isinstance(given, list) or len(wanted) != len(given):
            return False
        return all(is_close(key, *pair, relative) for pair in zip(wanted, given, strict=True))
    if key in ("data_digests", "stop_reason"):
        return True  # bits of the pixels, and a sentence with an error in it
    if not (isinstance(wanted, str) and "0x" in wanted and isinstance(given, str)):
        return bool(wanted == given)
    if key == "train/gradient_norm":
        relative = max(relative, RELATIVE_NORM)
    absolute = MOST_FLIPPED if key.endswith("error") else ABSOLUTE
    near = pytest.approx(float.fromhex(wanted), rel=relative, abs=absolute)
    return "0x" in given and float.fromhex(given) == near


def is_sum_close(wanted: str, given: str) -> bool:
    """Return whether a tensor's sums agree, measured against the sum of its magnitudes."""
    if "missing" in (wanted, given):
        return False
    sums, given_sums = ([float(text) for text in line.split()[1:]] for line in (wanted, given))
    near = pytest.approx(sums, rel=0, abs=RELATIVE_SUM * sums[1] + ABSOLUTE)
    return bool(given_sums == near)
