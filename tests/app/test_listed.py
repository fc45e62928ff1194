"""What lies in people's folders, seen from the commands: what was left out is said."""

import json
import os
from pathlib import Path

import pytest

from scripts.torture.command import call
from tests.data.test_entries import write_picture, write_two_classes

WORDS = (
    "train", "dataset=folder", "dataset.image_size_pixels=28", "trainer.epochs=1",
    "runtime.device=cpu", "runtime.num_threads=1", "logging.tensorboard=false",
    "logging.report=false", "logging.progress=false", "model=linear",
)  # fmt: skip


@pytest.fixture
def untidy(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        write_two_classes(root / split)
    write_picture(root / "train" / "cat" / ".ipynb_checkpoints" / "0.png")
    (root / "test" / "dog" / "list.csv").write_text("x")
    return root


NOTES = {
    "train": "left out: 1 in a hidden folder (cat/.ipynb_checkpoints)",
    "test": "left out: 1 not an image by its ending (dog/list.csv)",
}


def test_training_says_what_was_left_out(untidy: Path, tmp_path: Path) -> None:
    outcome = call(*WORDS, f"dataset.root={untidy}", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.errors
    log = (tmp_path / "run" / "train.log").read_text()
    for split, note in NOTES.items():
        assert f"{split}: {note}" in outcome.output
        assert f"{split}: {note}" in log


def test_preparing_says_what_was_left_out_and_keeps_it(untidy: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    words = (f"dataset.root={untidy}", "dataset.image_size_pixels=8", f"output={store}")
    outcome = call("prepare", "dataset=folder", *words)
    assert outcome.code == 0, outcome.errors
    assert all(note in outcome.output for note in NOTES.values())
    manifest = json.loads((store / "manifest.json").read_text())
    assert {name: split["note"] for name, split in manifest["splits"].items()} == NOTES


@pytest.mark.parametrize("key", ["dataset.root", "hydra.run.dir"])
def test_paths_of_other_bytes_are_refused_before_a_training(tmp_path: Path, key: str) -> None:
    """Their checkpoints could not be read again."""
    folder = tmp_path / os.fsdecode(b"R\xe9sum\xe9")
    for split in ("train", "test"):
        write_two_classes(folder / split)
    root = folder if key == "dataset.root" else tmp_path / "plain"
    if key != "dataset.root":
        root.symlink_to(folder)
    run = folder / "run" if key == "hydra.run.dir" else tmp_path / "run"
    outcome = call(*WORDS, f"dataset.root={root}", f"hydra.run.dir={run}")
    assert outcome.code == 2, outcome.errors
    assert f"{key} holds bytes that are not UTF-8" in outcome.errors
    assert "R\\xe9sum\\xe9" in outcome.errors
    assert not run.exists()
