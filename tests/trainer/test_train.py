"""`cnnlab train` from the command line's words to the run folder, on real digits."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.config.recipes import READ_BY

FEW = ["trainer.epochs=2", "trainer.limit_train_batches=4", "runtime.num_threads=1"]
LEAN = ["logging.report=false", "logging.images_every_epochs=null"]  # pictures take seconds


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Run `cnnlab train` in an empty folder; return its exit code and its run folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, name: str = "run") -> tuple[int, Path]:
        folder = tmp_path / name
        return main(["train", *FEW, *LEAN, f"hydra.run.dir={folder}", *words]), folder

    return run


def facts(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "run.json").read_text())
    assert isinstance(found, dict)
    return found


def losses(folder: Path) -> list[str]:
    with open(folder / "metrics.csv", newline="") as file:
        return [row["train/loss"] for row in csv.DictReader(file)]


def test_a_run_folder_explains_itself(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, folder = train("seed=3", "logging.report=true", "logging.images_every_epochs=2")
    assert code == 0
    told = facts(folder)
    assert told["status"] == "done"
    assert told["seed"] == 3
    assert 0 <= told["test_error"] <= 1
    assert {path.name for path in (folder / "checkpoints").iterdir()} >= {
        "best.safetensors",
        "last.safetensors",
        "step_00000008.safetensors",
    }
    document = checkpoint.read(folder / "checkpoints" / "last.safetensors").document
    assert document["step"] == 8
    assert document["class_names"] == list("0123456789")
    assert (folder / "config.yaml").is_file()
    assert list((folder / "tensorboard").iterdir())
    assert (folder / "report.html").is_file()
    out = capsys.readouterr().out
    assert "61,706" in out
    assert "epoch   2/2" in out
    assert "test error" in out
    assert "95 % interval" in out
    logged = (folder / "train.log").read_text()
    assert all(line in logged for line in out.splitlines() if line.startswith(("epoch", "test")))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train: Any) -> None:
    runs = [train(f"seed={seed}", name=f"run{i}")[1] for i, seed in enumerate((0, 0, 1))]
    assert losses(runs[0]) == losses(runs[1])
    assert losses(runs[0]) != losses(runs[2])


def test_accumulating_changes_only_memory(train: Any) -> None:
    whole = losses(train(name="whole")[1])
    parts = losses(train("trainer.accumulate=3", name="parts")[1])
    assert [float(loss) for loss in parts] == pytest.approx([float(x) for x in whole], rel=1e-4)


def test_one_batch_can_be_learned_by_heart(train: Any) -> None:
    words = ["trainer.overfit_one_batch=true", "trainer.epochs=12", "augment=none"]
    _, folder = train(*words, "optimizer.learning_rate=0.05", "trainer.batch_size=16")
    first, *_, last = (float(loss) for loss in losses(folder))
    assert first > 1.5
    assert last < 0.1


def test_a_loss_that_is_not_finite_ends_the_run_with_5(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, folder = train("optimizer.learning_rate=1e20", "trainer.epochs=4")
    assert code == 5
    error = capsys.readouterr().err
    assert "step" in error
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 3
    assert facts(folder)["status"] == "failed"
    for path in (folder / "checkpoints").glob("*.safetensors"):
        checkpoint.read(path)  # finite, or it would refuse


def test_a_finished_run_is_left_as_it_is(
    train: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, folder = train()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["train", f"resume={folder}"]) == 0
    assert "complete" in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_taken_run_folder_is_refused_with_8(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    code, _ = train()
    assert code == 8
    assert "resume=" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["model=linear", "optimizer=sgd_2012", "schedule=step"],
        ["model=mlp", "optimizer=adamw", "schedule=cosine", "trainer.clip_gradient_norm=1"],
        ["model.activation=tanh", "model.pooling=average", "schedule=plateau"],
        ["runtime.precision=bf16", "schedule=constant", "augment=none"],
        ["dataset.num_validation=0", "trainer.early_stop_epochs=null"],
        ["runtime.channels_last=true", "evaluation=five_crop", "dataset.residency=host"],
    ],
)
def test_every_choice_trains(train: Any, words: list[str]) -> None:
    code, folder = train(*words)
    assert code == 0
    assert facts(folder)["status"] == "done"


@pytest.mark.slow
def test_alexnet_trains_on_digits_at_the_size_it_takes_and_says_what_it_uses(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["trainer.limit_train_batches=1", "trainer.batch_size=4", "dataset.num_validation=10"]
    code, folder = train("model=alexnet", "trainer.epochs=1", *few)
    assert code == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["dataset"]["image_size_pixels"] == 64
    assert "recipe" not in config["model"]
    header = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("recipe "))
    for key in READ_BY.values():
        section, _, name = key.partition(".")
        assert f"{key}={config[section][name]}" in header.split()


def test_early_stopping_tests_the_best_network(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trainer.early_stop_epochs=1", "trainer.epochs=30", "optimizer.learning_rate=1e-9"]
    code, folder = train(*words, "augment=none")
    assert code == 0
    assert facts(folder)["stop_reason"].startswith("no better validation error")
    assert len(losses(folder)) < 30
