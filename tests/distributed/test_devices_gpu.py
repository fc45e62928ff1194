"""NCCL, and a tower on the processor and one on a GPU: marked gpu, skipped where there is none."""

import csv
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from cnnlab.cli import main
from cnnlab.distributed import joined
from tests.distributed.commands import setting
from tests.distributed.launching import SETTINGS, finished, torchrun
from tests.distributed.test_commands import check_same_weights, last_of

pytestmark = pytest.mark.gpu


def test_a_job_of_one_process_trains_over_nccl(tmp_path: Path) -> None:
    words = ["-m", "cnnlab", *SETTINGS, "runtime.device=cuda", "hydra.run.dir=run"]
    process = torchrun(*words, folder=tmp_path, num_processes=1)
    _, errors = finished(process)

    assert process.returncode == 0, errors
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["status"], facts["num_processes"]) == ("done", 1)
    assert facts["device"].startswith("cuda:0")


@pytest.mark.two_gpu
def test_a_hybrid_of_two_processes_over_nccl_is_one_process(tmp_path: Path) -> None:
    words = [*SETTINGS, "runtime.device=cuda", "distributed.scheme=hybrid", "model.dropout=0.5"]
    for num_processes, name in ((1, "one"), (2, "two")):
        command = ["-m", "cnnlab", *words, f"hydra.run.dir={name}"]
        process = torchrun(*command, folder=tmp_path, num_processes=num_processes)
        _, errors = finished(process)
        assert process.returncode == 0, errors
    check_same_weights(last_of(tmp_path / "two"), last_of(tmp_path / "one"))


def test_sums_go_through_nccl_and_decisions_through_the_host() -> None:
    job = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    with (
        setting(**job, MASTER_ADDR="127.0.0.1", MASTER_PORT="29533"),
        joined(torch.device("cuda:0"), timeout_seconds=60) as peers,
    ):
        assert dist.get_backend() == "nccl"
        numbers = torch.arange(5.0, device="cuda:0")
        peers.finish(peers.start_sum(numbers))
        assert numbers.tolist() == [0, 1, 2, 3, 4]


def test_a_tower_on_the_processor_and_one_on_the_gpu_train_like_two_on_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "model=alexnet_two_gpu",
        "experiment=debug",
        "dataset=synthetic",
        "dataset.image_size_pixels=64",
        "augment=none",
        "model.head=single",
        "model.initialization=kaiming",
        "model.dropout=0",
        "optimizer.learning_rate=0.001",
        "logging.report=false",
    ]
    losses = []
    for devices in ("[cpu,cpu]", "[cpu,cuda:0]"):
        folder = tmp_path / devices.strip("[]").replace(",", "_").replace(":", "")
        assert main([*words, f"model.devices={devices}", f"hydra.run.dir={folder}"]) == 0
        with open(folder / "metrics.csv", newline="") as file:
            losses.append([float(row["train/loss"]) for row in csv.DictReader(file)])
    assert losses[1] == pytest.approx(losses[0], rel=0.003)
