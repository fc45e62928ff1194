"""Two processes are one: same weights, same counts, as many bytes as there are parameters."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnlab import checkpoint
from tests.distributed.launching import (
    CASES,
    LOOPBACK_FLAGS,
    WORKER,
    finished,
    in_one_process,
    torchrun,
)

LOOPBACK_V4 = {"0100007F"}
LOOPBACK = LOOPBACK_V4 | {"00000000000000000000000001000000"}
"""127.0.0.1 and ::1 as /proc writes them."""


@pytest.mark.parametrize("case", CASES)
def test_two_processes_reach_the_weights_of_one(case: str, found: dict[str, Any]) -> None:
    """In float64, 10 steps, the eighth a short last batch of which one process may have nothing.

    And its average of the weights, its momenta and losses; a hybrid also with its dropout masks.
    """
    assert found[case] < 1e-10
    assert found[f"{case} moved"] > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_reach_the_weights_of_one_alexnet(num_processes: int, tmp_path: Path) -> None:
    """Also four of them, of which three may have no row; 410 units are split unevenly."""
    cases = ["alexnet"] if num_processes == 2 else ["lenet5 hybrid", "lenet5 (8, 3)"]
    cases += ["alexnet hybrid", "alexnet_2014 hybrid", "alexnet_2014 (8, 3)"]
    cases += ["lenet5 hybrid weighted"]
    words = (WORKER, "found.json", *cases)
    process = torchrun(*words, folder=tmp_path, num_processes=num_processes)
    _, errors = finished(process)

    assert process.returncode == 0, errors
    found = json.loads((tmp_path / "0_found.json").read_text())
    for case in cases:
        assert found[case] < 1e-10, case
        assert found[f"{case} moved"] > 1e-4, case
    check_bytes(found)


def test_counted_bytes_are_those_of_the_formulas(found: dict[str, Any]) -> None:
    check_bytes(found)


def check_bytes(found: dict[str, Any]) -> None:
    """What the system sends besides: headers, heartbeats, and the counts of gloo's messages."""
    for facts in found["exchanged"].values():
        assert facts["counted"] == pytest.approx(facts["formula"], rel=1e-12)
        assert facts["on_sockets"] == pytest.approx(facts["formula"], rel=0.05)


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


@pytest.mark.slow
def test_two_processes_keep_the_average_of_one_and_go_on_with_it(tmp_path: Path) -> None:
    """The command itself: weighted classes, the average judged; stopped after an epoch, resumed."""
    words = [
        *("train", "dataset=synthetic", "dataset.num_train=90", "dataset.num_validation=31"),
        *("dataset.image_size_pixels=12", "model=mlp", "augment=none", "trainer.batch_size=20"),
        *("loss.class_weights=[1,2,3,4,5,6,7,8,9,10]", "ema.decay=0.8", "which_weights=ema"),
        *("schedule=constant", "runtime.device=cpu", "runtime.num_threads=1"),
        *("logging.report=false", "logging.tensorboard=false", "logging.images_every_epochs=null"),
    ]
    alone = [*words, "trainer.epochs=2", "hydra.run.dir=alone"]
    assert in_one_process(*alone, folder=tmp_path).returncode == 0
    first = [*words, "trainer.epochs=1", "hydra.run.dir=pair"]
    for command in (first, ["train", "trainer.epochs=2", "resume=pair"]):
        process = torchrun("-m", "cnnlab", *command, folder=tmp_path)
        _, errors = finished(process)
        assert process.returncode == 0, errors

    one, two = (
        checkpoint.read(tmp_path / name / "checkpoints" / "last.safetensors")
        for name in ("alone", "pair")
    )
    assert int(two.tensors["averaging.num_updates"]) == 6
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=1e-3, atol=1e-5)
    for key in ("raw_top1_error", "ema_top1_error"):
        assert two.document["metrics"][f"validation/{key}"] == pytest.approx(
            one.document["metrics"][f"validation/{key}"], abs=0.04
        )


@pytest.mark.slow
def test_two_processes_go_on_after_an_early_stop_when_more_epochs_are_asked_for(
    tmp_path: Path,
) -> None:
    """The second process knew no changed setting, kept the old reason to stop, and left at once."""
    words = [
        *("train", "dataset=synthetic", "dataset.num_train=60", "dataset.num_validation=20"),
        *("model=linear", "augment=none", "trainer.batch_size=20", "trainer.early_stop_epochs=1"),
        *("optimizer.learning_rate=1e-9", "schedule=constant", "runtime.device=cpu"),
        *("logging.report=false", "logging.tensorboard=false", "logging.images_every_epochs=null"),
    ]
    first = [*words, "trainer.epochs=5", "hydra.run.dir=run"]
    resumed = ["train", "resume=run", "trainer.epochs=6", "distributed.timeout_seconds=60"]
    for command in (first, [*resumed, "allow_changes=[distributed]"]):
        _, errors = finished(process := torchrun("-m", "cnnlab", *command, folder=tmp_path))
        assert process.returncode == 0, errors
    steps = {path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")}
    assert "step_00000006.safetensors" in steps
