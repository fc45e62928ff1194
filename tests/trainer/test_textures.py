"""The 2012 network with the source's and with the paper's choices, fifty steps on ten patterns.

Slow: about 5 minutes each on one core.
"""

import json
import math
from pathlib import Path

import pytest

from cnnlab.cli import main

TASK = [
    "dataset=synthetic",
    "dataset.image_size_pixels=256",
    "dataset.normalize=pixel",
    "dataset.num_test=20",
    "dataset.num_validation=20",
    "evaluation=center",
    "optimizer.learning_rate=0.001",
    "trainer.epochs=1",
    "trainer.batch_size=32",
    "trainer.limit_train_batches=50",
    "trainer.log_every_steps=1",
    "logging.tensorboard=false",
    "logging.report=false",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def losses(experiment: str, folder: Path) -> list[float]:
    code = main(["train", f"experiment={experiment}", *TASK, f"hydra.run.dir={folder}"])
    assert code == 0
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["train/batch_loss"] for line in lines if "train/batch_loss" in line]


def test_the_sources_choices_learn_ten_patterns_in_fifty_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last = losses("alexnet_2012_source", tmp_path / "run")[-10:]
    assert sum(last) / 10 < math.log(10) / 2


def test_the_papers_choices_stall_at_chance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = losses("alexnet_2012_paper", tmp_path / "run")
    assert sum(found[-10:]) / 10 > 0.95 * math.log(10)
