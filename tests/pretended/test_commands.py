"""Whole commands on a pretended CUDA device: train, resume, evaluate, predict and visualize."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import cnnlab
from cnnlab import checkpoint
from cnnlab.cli import main
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, MIX, RACE, WAIT

WORDS = [
    "model=lenet5",
    "model.dropout=0.5",
    "dataset=synthetic",
    "dataset.num_train=40",
    "dataset.num_test=10",
    "dataset.num_validation=10",
    "dataset.image_size_pixels=32",
    "trainer.batch_size=8",
    "schedule=constant",
    "runtime.num_threads=1",
    "runtime.device=cuda",
    "logging.tensorboard=false",
    "logging.report=false",
]


def command(*words: str) -> list[str]:
    """Run a command on a pretended device, where nothing races; return what the host waited for."""
    with pretended() as record:
        assert main(list(words)) == 0
        assert not record.of(MIX, RACE)
        return record.of(WAIT, BLOCKING_COPY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("pretended") / "run"
    command("train", *WORDS, "trainer.epochs=2", f"hydra.run.dir={folder}")
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / "checkpoints" / "last.safetensors").tensors


def evaluated(capsys: pytest.CaptureFixture[str], folder: Path, device: str) -> dict[str, Any]:
    words = [f"checkpoint={folder}", f"runtime.device={device}", "format=json", "output=null"]
    capsys.readouterr()
    command("evaluate", *words)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_resumed_run_continues_bit_for_bit(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command("train", *WORDS, "trainer.epochs=1", f"hydra.run.dir={folder}")
    command("train", f"resume={folder}", "trainer.epochs=2")
    found, wanted = tensors(folder), tensors(run)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.slow
def test_more_steps_between_two_logs_wait_for_nothing_more(tmp_path: Path) -> None:
    """The whole command, with all that happens after each update; both capture their steps."""
    few, many = (
        command(
            "train",
            *WORDS,
            "augment=crop",
            "trainer.epochs=2",
            "trainer.log_every_steps=1000",
            f"trainer.limit_train_batches={number}",
            f"hydra.run.dir={tmp_path}/{number}",
        )
        for number in (4, 6)
    )
    assert Counter(many) == Counter(few)


def test_it_evaluates_to_what_the_cpu_finds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, here = (evaluated(capsys, run, device) for device in ("cuda", "cpu"))
    assert there.pop("cross_entropy") == pytest.approx(here.pop("cross_entropy"), rel=1e-6)
    assert there == here


def test_it_predicts_what_the_cpu_predicts(run: Path) -> None:
    pictures = torch.arange(2 * 32 * 32 * 3, dtype=torch.int64).remainder(251).byte()
    pictures = pictures.view(2, 32, 32, 3)
    here = cnnlab.load(run, device="cpu").predict(pictures.numpy())
    with pretended() as record:
        there = cnnlab.load(run, device="cuda").predict(pictures.numpy())
        assert not record.of(MIX, RACE)
    assert there.probabilities.device.type == "cpu"
    assert torch.allclose(there.probabilities, here.probabilities, rtol=1e-5)


def test_it_draws_pictures(run: Path, tmp_path: Path) -> None:
    words = [f"checkpoint={run}", "runtime.device=cuda", f"output={tmp_path}", "formats=[png]"]
    command("visualize", *words, "what=[filters,deconvnet]")
    assert len(list(tmp_path.glob("*.png"))) == 2
