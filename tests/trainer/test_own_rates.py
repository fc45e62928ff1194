"""`optimizer.groups` from the command line: shown, stored, resumed, and refused early."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.files.plain_yaml import load_plain
from cnnlab.writers import read_epochs

LEAN = (
    "model=mlp", "model.hidden_units=[4]", "schedule=constant", "trainer.limit_train_batches=3",
    "trainer.batch_size=8", "runtime.device=cpu", "runtime.num_threads=1", "logging.report=false",
    "logging.tensorboard=false", "logging.images_every_epochs=null",
)  # fmt: skip
GROUPS = "optimizer.groups=[{layers:[fc1],parameters:weights,at_epochs:[1],fractions:[0]}]"
Train = Callable[..., int]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["train", *words])


def weights(run: str, name: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.read(Path(run) / "checkpoints" / f"{name}.safetensors").tensors


def test_groups_are_shown_stored_and_continued_bit_for_bit(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*LEAN, GROUPS, "trainer.epochs=2", "hydra.run.dir=whole") == 0
    assert "groups      weights of fc1: not trained after epoch 1" in capsys.readouterr().out
    assert train(*LEAN, GROUPS, "trainer.epochs=1", "hydra.run.dir=half") == 0
    halfway = {name: value.clone() for name, value in weights("half").items()}
    assert train("resume=half", "trainer.epochs=2") == 0

    rates = read_epochs(Path("whole/metrics.csv"))[-1]
    usual = rates["train/learning_rate"]
    assert {name: rate for name, rate in rates.items() if name.startswith("learning_rate/")} == {
        "learning_rate/weights": usual,
        "learning_rate/biases": usual,
        "learning_rate/weights of fc1": 0.0,
    }

    (stored,) = load_plain(Path("half/config.yaml"))["optimizer"]["groups"]
    assert (stored["layers"], stored["fractions"], stored["rate_factor"]) == (["fc1"], [0.0], None)
    whole, resumed = weights("whole"), weights("half")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert torch.equal(halfway["model.fc1.weight"], whole["model.fc1.weight"])
    assert not torch.equal(halfway["model.fc1.bias"], whole["model.fc1.bias"])


def test_other_groups_on_resuming_need_permission(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*LEAN, GROUPS, "trainer.epochs=1", "hydra.run.dir=run") == 0
    assert train("resume=run", "trainer.epochs=2", "optimizer.groups=[]") == 2
    assert "allow_changes=[optimizer.groups]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word",
    ["optimizer.groups={layers:[fc9],rate_factor:2}", "model.train_layers=from:fc9"],
)
def test_a_layer_that_does_not_exist_is_refused_before_any_image_is_read(
    word: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*LEAN, word, "dataset=imagenet", "dataset.root=missing") == 2
    assert "no layer 'fc9' has weights" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_shows_the_groups_of_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "experiment=alexnet_2012_source", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())  # of a table whose cells are wrapped
    assert '{"layers": ["conv1"], "parameters": "weights", "at_epochs": [67, 72]' in words
    assert "each {layers, parameters, rate_factor, weight_decay, at_epochs, fractions}" in words
