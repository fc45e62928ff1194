"""The obvious command learns: a model and a set by name, a short length, and nothing else."""

import json
from pathlib import Path

import pytest

from cnnlab.cli import main

PAIRS = {
    "lenet5 in color": ["model=lenet5", "dataset=synthetic", "trainer.epochs=2"],
    "lenet5_1998": ["model=lenet5_1998", "dataset=synthetic", "trainer.epochs=2"],
    "four_layer": ["model=four_layer", "dataset=synthetic", "trainer.epochs=2"],
    "a narrow AlexNet": [
        "model=alexnet",
        "model.width=0.25",
        "dataset=synthetic",
        "trainer.epochs=2",
    ],
    "textbook LeNet": [
        "model=lenet5",
        "model.activation=sigmoid",
        "model.pooling=average",
        "dataset=synthetic",
        "trainer.epochs=4",
    ],
}

QUIET = ["logging.report=false", "logging.tensorboard=false", "runtime.num_threads=1"]

SLOW = ("four_layer", "textbook LeNet")

GUESSING = 0.9
"""The error of a guess among ten classes."""


@pytest.mark.parametrize(
    "pair", [pytest.param(p, marks=pytest.mark.slow if p in SLOW else ()) for p in PAIRS]
)
def test_a_default_leaves_chance(
    pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *PAIRS[pair], *QUIET, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    errors = [line["validation/top1_error"] for line in lines if "validation/top1_error" in line]
    assert errors[-1] < GUESSING / 2
