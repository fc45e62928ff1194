"""The split network through the commands: trained on two devices, resumed, evaluated on one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main

SMALL = [
    "dataset=synthetic",
    "dataset.num_train=40",
    "dataset.num_test=20",
    "dataset.num_validation=20",
    "dataset.image_size_pixels=64",
    "augment=none",
    "model.head=single",
    "model.initialization=kaiming",
    "trainer.batch_size=4",
    "trainer.limit_train_batches=2",
    "runtime.num_threads=1",
    "logging.tensorboard=false",
    "logging.report=false",
]
SPLIT = ["model=alexnet_two_gpu", "model.devices=[cpu,cpu]", *SMALL]


def train(folder: Path, *words: str) -> Path:
    assert main(["train", *words, f"hydra.run.dir={folder}"]) == 0
    return folder


def tensors(run: Path) -> dict[str, torch.Tensor]:
    (last,) = (run / "checkpoints").glob("last*")
    return checkpoint.read(last).tensors


def facts(run: Path) -> dict[str, Any]:
    found = json.loads((run / "run.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_trained_on_two_devices_it_resumes_there_and_evaluates_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = train(tmp_path / "whole", *SPLIT, "trainer.epochs=2", "schedule=constant")
    run = train(tmp_path / "run", *SPLIT, "trainer.epochs=1", "schedule=constant")
    assert main(["train", f"resume={run}", "trainer.epochs=2"]) == 0
    found, wanted = tensors(run), tensors(whole)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    capsys.readouterr()
    assert main(["evaluate", f"checkpoint={run}", "format=json", "output=null"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["top1_error"] == facts(run)["test_error"]


def test_one_gpu_but_two_asked_for_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "model=alexnet_two_gpu", "model.devices=[cuda:97,cuda:98]"]
    assert main(["train", *words]) == 6
    message = capsys.readouterr().err
    assert "alexnet_two_tower" in message
    assert len(message.strip().splitlines()) <= 3
