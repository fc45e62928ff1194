"""`dataset.train_subset=N` from the command line's words to the run folder and its evaluation."""

import json
from pathlib import Path

import pytest
import torch

from cnnlab import session
from cnnlab.cli import main
from cnnlab.config import parse_evaluate, parse_train
from cnnlab.data.store import all_indices
from cnnlab.inference.evaluation import measure
from cnnlab.trainer.assemble import Assembly, assemble
from tests.test_config import composed

QUICK = ("runtime.device=cpu", "runtime.num_threads=1")
LINEAR = ("model=linear", "augment=none", *QUICK)


def assembled(*words: str) -> Assembly:
    return assemble(parse_train(composed("train", *LINEAR, *words)), torch.device("cpu"))


def test_mean_and_deviation_come_from_the_subset_and_other_splits_stay() -> None:
    whole, part = assembled(), assembled("dataset.train_subset=40")
    train = part.splits.train
    assert torch.bincount(train.labels).tolist() == [4] * 10
    for name in ("validation", "test"):
        assert part.splits.stores()[name].digest == whole.splits.stores()[name].digest

    pixels = part.preprocessing.prepare(train.read(all_indices(train)).permute(0, 3, 1, 2)).double()
    assert float(part.preprocessing.mean) == pytest.approx(float(pixels.mean()), rel=1e-6)
    assert float(part.preprocessing.mean) != float(whole.preprocessing.mean)
    assert part.stream.num_images_at(0) == 40


def test_a_run_on_a_subset_records_it_and_its_evaluation_sees_the_same_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["dataset=synthetic", "dataset.num_train=90", "dataset.num_validation=30"]
    words = ["experiment=debug", *small, "dataset.train_subset=20", *LINEAR]
    lean = ["logging.report=false", "logging.images_every_epochs=null", "logging.tensorboard=false"]
    run = tmp_path / "run"
    assert main(["train", *words, *lean, f"hydra.run.dir={run}"]) == 0
    facts = json.loads((run / "run.json").read_text())
    assert facts["num_images"] == {"train": 20, "validation": 30, "test": 500}
    assert "20 of 60 training images" in capsys.readouterr().out

    for split, number in (("train", 20), ("validation", 30)):
        asked = ["evaluate", f"checkpoint=[{run}]", f"split={split}", *QUICK]
        config = parse_evaluate(composed(*asked))
        with session.shared(config.runtime, 60) as here:
            found = measure(config, here)
        assert (found.tally.num_images, found.as_recorded) == (number, True)


def test_more_images_than_there_are_end_the_command_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["dataset.train_subset=3501", f"hydra.run.dir={tmp_path / 'run'}", *LINEAR]
    assert main(["train", *words]) == 2
    assert "dataset.train_subset=3501 does not fit 3500 training images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
