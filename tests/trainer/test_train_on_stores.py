"""Whole trainings from prepared Stores and from files, stopped in the middle of an epoch."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cnnlab.run_folder import RunFolder
from scripts.torture.command import call, differences, trace
from tests.data.pictures import write_train_and_test

WORDS = (
    "train", "dataset=folder", "dataset.image_size_pixels=36", "dataset.num_validation=8",
    "dataset.residency=mapped", "model=lenet5", "augment=alexnet", "augment.crop_pixels=32",
    "trainer.epochs=2", "trainer.batch_size=10", "trainer.log_every_steps=1",
    "trainer.validate_every_epochs=1", "saving.every_steps=4", "saving.keep=9",
    "runtime.device=cpu", "runtime.num_threads=1", "logging.tensorboard=false",
    "logging.report=false", "logging.progress=false",
)  # fmt: skip
MIDDLE_STEP = 8
"""Of 12: the second of the second epoch."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_train_and_test(tmp_path_factory.mktemp("pictures"))


def place_of(kind: str, pictures: Path, folder: Path) -> Path:
    """Return the pictures themselves, or a Store of them."""
    if kind == "files":
        return pictures
    words = (f"dataset.root={pictures}", "dataset.image_size_pixels=36", f"encoding={kind}")
    outcome = call("prepare", "dataset=folder", *words, f"output={folder}")
    assert outcome.code == 0, outcome.errors
    return folder


@pytest.mark.parametrize(
    "kind", ["jpeg", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("files", "uint8"))]
)
def test_a_run_stopped_in_mid_epoch_goes_on_with_4_decode_threads_as_with_1(
    kind: str, pictures: Path, tmp_path: Path
) -> None:
    root = place_of(kind, pictures, tmp_path / "store")
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    words = (*WORDS, f"dataset.root={root}", "dataset.num_decode_threads=1")
    begun = call(*words, f"hydra.run.dir={whole}")
    assert begun.code == 0, begun.errors
    assert ("every epoch decodes" in begun.output) == (kind != "uint8")
    shutil.copytree(whole, folder)
    run = RunFolder(folder)
    for name in ("step_00000012", "best", "last"):
        (run.checkpoints / f"{name}.safetensors").unlink()
    run.mark(MIDDLE_STEP, "last")
    run.update_status(status="interrupted")
    more = call("train", f"resume={folder}", "dataset.num_decode_threads=4")
    assert more.code == 0, more.errors
    assert trace(folder) == trace(whole)
    assert not [text for text in differences(whole, folder) if "tensors" in text]


def flip_pixel(store: Path) -> None:
    path = store / "train_00000.npy"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x40
    path.write_bytes(raw)


def swap_labels(store: Path) -> None:
    labels = np.load(store / "train_labels.npy")
    np.save(store / "train_labels.npy", labels[::-1])


CHANGES = {"a flipped pixel": flip_pixel, "swapped labels": swap_labels}


def test_no_run_begins_or_goes_on_with_a_store_that_changed(pictures: Path, tmp_path: Path) -> None:
    store, folder = place_of("uint8", pictures, tmp_path / "store"), tmp_path / "run"
    short = (*WORDS, "trainer.epochs=1", "trainer.limit_train_batches=2", "augment=none")
    words = [word for word in short if not word.startswith("augment.")]
    begun = call(*words, f"dataset.root={store}", f"hydra.run.dir={folder}")
    assert begun.code == 0, begun.errors
    for kind, change in CHANGES.items():
        other = tmp_path / kind.replace(" ", "_")
        shutil.copytree(store, other)
        change(other)
        again = call("train", f"resume={folder}", "trainer.epochs=2", f"dataset.root={other}")
        assert (again.code, "changed since" in again.errors) == (3, True), kind
        anew = call(*words, f"dataset.root={other}", f"hydra.run.dir={tmp_path / 'anew'}")
        assert (anew.code, "changed since" in anew.errors) == (3, True), kind
