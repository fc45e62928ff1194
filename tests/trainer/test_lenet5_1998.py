"""`experiment=lenet5_1998`: the 1998 network with its own update rule, from the command line."""

import json
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main

FEW = [
    "experiment=lenet5_1998",
    "trainer.limit_train_batches=6",
    "optimizer.num_curvature_images=20",
    "runtime.num_threads=1",
    "logging.tensorboard=false",
    "logging.report=false",
]


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, name="run"):
        assert main(["train", *FEW, f"hydra.run.dir={tmp_path / name}", *words]) == 0
        return tmp_path / name

    return run


def tensors(run: Path):
    (last,) = (run / "checkpoints").glob("last*")
    return checkpoint.read(last).tensors


def test_curvature_is_part_of_the_checkpoint_and_resuming_equals_not_stopping(train, tmp_path):
    table = ["schedule.at_epochs=[1]", "schedule.fractions=[1.0,0.4]"]
    whole = train("trainer.epochs=2", *table, name="whole")
    train("trainer.epochs=1", *table, name="parts")
    words = [f"resume={tmp_path / 'parts'}", "trainer.epochs=2"]
    assert main(["train", *words]) == 0
    found, wanted = tensors(tmp_path / "parts"), tensors(whole)
    assert found.keys() == wanted.keys()
    assert wanted["optimizer.c3.weight.curvature"].min() >= 0
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_rule_is_refused_for_other_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "model=lenet5", "optimizer=levenberg_marquardt", "runtime.num_threads=1"]
    assert main(words) == 2
    assert "lenet5_1998" in capsys.readouterr().err


def test_the_rule_is_refused_for_a_loss_of_another_curvature(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *FEW, "model.loss=cross_entropy", "loss.class_weights=balanced"]) == 2
    assert "curvature of the plain losses alone" in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["squared_distance", "cross_entropy"])
def test_equation_8_and_softmax_scores_train_as_well(train, loss):
    words = ["trainer.epochs=1", "schedule.at_epochs=[]", "schedule.fractions=[1.0]"]
    run = train(*words, f"model.loss={loss}")
    assert json.loads((run / "run.json").read_text())["status"] == "done"
