"""Files in people's folders that are no images: each command says what it left out."""

import json
import os
from pathlib import Path

import pytest

from scripts.torture.command import Outcome, call
from tests.data.test_entries import write_picture, write_two_classes

WORDS = (
    "train", "dataset=folder", "dataset.image_size_pixels=28", "trainer.epochs=1",
    "runtime.device=cpu", "runtime.num_threads=1", "logging.tensorboard=false",
    "logging.report=false", "logging.progress=false", "model=linear",
)  # fmt: skip


OTHER_BYTES = os.fsdecode(b"\xfcber\xe4.png")
SHOWN = "\\xfcber\\xe4.png"


@pytest.fixture(scope="module")
def untidy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two classes, two of them with names that are no UTF-8, and what lies about."""
    root = tmp_path_factory.mktemp("untidy") / "pictures"
    for split in ("train", "test"):
        write_two_classes(root / split)
        (root / split / "cat" / "0.png").rename(root / split / "cat" / OTHER_BYTES)
    write_picture(root / "train" / "cat" / ".ipynb_checkpoints" / "0.png")
    (root / "test" / "dog" / "list.csv").write_text("x")
    return root


@pytest.fixture(scope="module")
def trained(untidy: Path) -> tuple[Path, Outcome]:
    run = untidy.with_name("run")
    outcome = call(*WORDS, f"dataset.root={untidy}", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.errors
    return run, outcome


NOTES = {
    "train": "left out: 1 in a hidden folder (cat/.ipynb_checkpoints)",
    "test": "left out: 1 file without an image extension (dog/list.csv)",
}


def test_training_says_what_was_left_out(trained: tuple[Path, Outcome]) -> None:
    run, outcome = trained
    log = (run / "train.log").read_text()
    for split, note in NOTES.items():
        assert f"{split}: {note}" in outcome.output
        assert f"{split}: {note}" in log


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_names_of_other_bytes_are_predicted(
    untidy: Path, trained: tuple[Path, Outcome], form: str
) -> None:
    pictures = untidy / "test" / "cat"
    outcome = call("predict", f"checkpoint={trained[0]}", f"images={pictures}", f"format={form}")
    assert outcome.code == 0, outcome.errors
    outcome.output.encode()
    if form == "json":
        paths = [image["path"] for image in json.loads(outcome.output)["images"]]
        assert str(pictures / OTHER_BYTES) in paths
    else:
        assert str(pictures / SHOWN) in outcome.output


def test_predicting_says_what_was_left_out(untidy: Path, trained: tuple[Path, Outcome]) -> None:
    words = (f"checkpoint={trained[0]}", f"images={untidy / 'test'}", "format=json")
    outcome = call("predict", *words)
    assert outcome.errors == f"cnnlab: {NOTES['test']}\n"
    assert len(json.loads(outcome.output)["images"]) == 6


def test_a_bad_file_whose_name_is_other_bytes_is_shown_and_skipped(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_two_classes(tmp_path / "pictures" / split)
    (tmp_path / "pictures" / "train" / "dog" / OTHER_BYTES).write_text("no picture")

    root, store = tmp_path / "pictures", tmp_path / "store"
    words = ("prepare", "dataset=folder", f"dataset.root={root}", f"output={store}")
    refused = call(*words, "dataset.image_size_pixels=8")
    assert refused.code == 3
    assert f"dog/{SHOWN}" in refused.errors

    skipped = call(*words, "dataset.image_size_pixels=8", "on_bad=skip", "max_bad_fraction=0.5")
    assert skipped.code == 0, skipped.errors
    manifest = json.loads((store / "manifest.json").read_text())
    assert [item["path"] for item in manifest["splits"]["train"]["skipped"]] == [
        f"dog/{OTHER_BYTES}"
    ]


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
    assert f"{key} is not valid UTF-8" in outcome.errors
    assert "R\\xe9sum\\xe9" in outcome.errors
    assert not run.exists()
