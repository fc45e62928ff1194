"""Two processes are one: same weights, same counts, as many bytes as there are parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.launching import LOOPBACK_FLAGS, WORKER, finished, torchrun

LOOPBACK_V4 = {"0100007F"}
LOOPBACK = LOOPBACK_V4 | {"00000000000000000000000001000000"}
"""127.0.0.1 and ::1 as /proc writes them."""


@pytest.mark.parametrize("case", ["lenet5", "lenet5 in parts", "lenet5 weighted"])
def test_two_processes_reach_the_weights_of_one(case: str, found: dict[str, Any]) -> None:
    """In float64, 20 steps, a short last batch of which one process may have nothing."""
    assert found[case] < 1e-10
    assert found[f"{case} moved"] > 1e-4


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one_alexnet(tmp_path: Path) -> None:
    process = torchrun(WORKER, "found.json", "alexnet", folder=tmp_path)
    _, errors = finished(process)

    assert process.returncode == 0, errors
    found = json.loads((tmp_path / "0_found.json").read_text())
    assert found["alexnet"] < 1e-10
    assert found["alexnet moved"] > 1e-4


def test_each_gradient_travels_once(found: dict[str, Any]) -> None:
    facts = found["gradients"]

    assert facts["num_bytes"]["none"] == 4 * facts["num_parameters"]
    assert facts["num_bytes"]["bf16"] == 2 * facts["num_parameters"]


def test_compressed_gradients_are_rounded_alike_everywhere(found: dict[str, Any]) -> None:
    facts = found["gradients"]

    assert facts["same_everywhere"]
    assert facts["apart"]["none"] < 1e-6
    assert 1e-4 < facts["apart"]["bf16"] < 2**-7


def test_the_first_process_decides_and_any_may_ask(found: dict[str, Any]) -> None:
    assert found["broadcast"] == "of 0"
    assert found["largest"] == 1


def test_processes_of_one_machine_listen_on_loopback_alone(found: dict[str, Any]) -> None:
    for addresses in found["listening"]:
        assert addresses
        assert set(addresses) <= LOOPBACK


@pytest.mark.slow
def test_with_flags_for_it_nobody_listens_to_the_network(tmp_path: Path) -> None:
    process = torchrun(WORKER, "found.json", folder=tmp_path, flags=LOOPBACK_FLAGS)
    _, errors = finished(process)

    assert process.returncode == 0, errors
    found = json.loads((tmp_path / "0_found.json").read_text())
    assert found["launcher_listening"] == []
    for addresses in found["listening"]:
        assert set(addresses) == LOOPBACK_V4
