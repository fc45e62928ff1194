"""Two processes are one: same weights, same counts, as many bytes as there are parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.launching import ROOT, torchrun


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the worker once in two processes; all claims below are about what it found."""
    folder = tmp_path_factory.mktemp("together")
    worker = str(ROOT / "tests" / "distributed" / "worker.py")
    process = torchrun(worker, "found.json", folder=folder)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    facts: dict[str, Any] = json.loads(Path(folder / "found.json").read_text())
    return facts


@pytest.mark.parametrize("case", ["lenet5", "lenet5 in parts", "alexnet"])
def test_two_processes_reach_the_weights_of_one(case: str, found: dict[str, Any]) -> None:
    """In float64, 20 steps, a short last batch of which one process may have nothing."""
    assert found[case] < 1e-10
    assert found[f"{case} moved"] > 1e-4


def test_two_processes_count_what_one_counts(found: dict[str, Any]) -> None:
    together, alone = found["together"], found["alone"]

    assert together["num_images"] == 61
    assert together["cross_entropy"] == pytest.approx(alone["cross_entropy"], rel=1e-12)
    for name in ("num_images", "top1_errors", "top5_errors", "confusion"):
        assert together[name] == alone[name]


def test_each_gradient_travels_once(found: dict[str, Any]) -> None:
    (plain_bytes, num_parameters), (short_bytes, _) = found["traffic"]

    assert plain_bytes == 4 * num_parameters
    assert short_bytes == 2 * num_parameters


def test_the_first_process_decides_and_any_may_ask(found: dict[str, Any]) -> None:
    assert found["broadcast"] == "of 0"
    assert found["largest"] == 1
