"""`cnnlab prepare` from outside: messages, exit codes, signals."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnnlab import data
from cnnlab.app.prepare import run, sources_for
from cnnlab.cli import main
from cnnlab.config import Launch
from cnnlab.data.journal import Journal
from cnnlab.errors import DataError, UsageError
from tests.data.pictures import write_train_and_test
from tests.data.settings import dataset_config, prepare_config


def prepare(root: Path, output: Path, **changes) -> int:
    dataset = dataset_config("folder", root=str(root), image_size_pixels=32)
    config = prepare_config(dataset, output=str(output), num_threads=2, **changes)
    return run(config, Launch(command="cnnlab prepare"))


def test_prepare_then_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, output = write_train_and_test(tmp_path / "pictures"), tmp_path / "store"
    assert prepare(root, output) == 0
    said = capsys.readouterr().out
    assert "train: 64 images" in said
    assert f"dataset.root={output}" in said
    assert prepare(root, output, verify=True) == 0
    assert "every digest is correct" in capsys.readouterr().out
    shard = output / "train_00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"train_00000\.npy"):
        prepare(root, output, verify=True)


def test_an_output_must_be_named(tmp_path: Path) -> None:
    dataset = dataset_config("folder", root=str(tmp_path))
    with pytest.raises(UsageError, match="output is missing"):
        run(prepare_config(dataset), Launch(command="cnnlab prepare"))


@pytest.fixture
def three_bad(tmp_path: Path) -> Path:
    root = write_train_and_test(tmp_path / "pictures")
    (root / "train" / "class_0" / "0003.jpg").write_bytes(b"")
    (root / "train" / "class_2" / "0007.jpg").write_bytes(b"<html></html>")
    (root / "train" / "class_3" / "0001.jpg").write_bytes(b"\xff\xd8\xff\xe0 truncated")
    return root


BAD_PATHS = ["class_0/0003.jpg", "class_2/0007.jpg", "class_3/0001.jpg"]


def test_bad_files_are_all_listed_and_nothing_is_published(three_bad: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 of 64 train files") as caught:
        prepare(three_bad, tmp_path / "store")
    assert all(path in caught.value.where for path in BAD_PATHS)
    assert "class_0/0003.jpg: empty file; class_2/0007.jpg: a web page" in caught.value.where
    assert len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "store").exists()


def test_skipped_files_are_recorded_up_to_the_limit(
    three_bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"max_bad_fraction=0\.001"):
        prepare(three_bad, tmp_path / "store", on_bad="skip")
    assert prepare(three_bad, tmp_path / "store", on_bad="skip", max_bad_fraction=0.05) == 0
    assert "train: 61 images" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    skipped = manifest["splits"]["train"]["skipped"]
    assert [item["path"] for item in skipped] == BAD_PATHS
    stored = data.load(dataset_config("store", root=str(tmp_path / "store"))).train
    original = data.load(dataset_config("folder", root=str(three_bad), image_size_pixels=32)).train
    good = [k for k, path in enumerate(original.listing.paths) if path not in BAD_PATHS]
    assert torch.equal(stored.read(torch.arange(61)), original.read(torch.tensor(good)))
    assert torch.equal(stored.labels, original.labels[good])


@pytest.fixture
def checkered(tmp_path: Path) -> Path:
    """Class folders alone, of pictures that any resizing turns gray."""
    checks = (np.indices((96, 96)).sum(0) % 2 * 255).astype(np.uint8)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for item in range(5):
            Image.fromarray(checks).save(tmp_path / "pets" / name / f"{item}.png")
    return tmp_path / "pets"


def prepare_held_out(root: Path, output: Path, **changes) -> int:
    dataset = dataset_config("folder", root=str(root), image_size_pixels=24, num_test=2)
    config = prepare_config(dataset, output=str(output), **{"num_threads": 1, **changes})
    return run(config, Launch(command="cnnlab prepare"))


def test_images_held_out_are_decoded_at_the_side_asked_for(checkered: Path, tmp_path: Path) -> None:
    prepare_held_out(checkered, tmp_path / "store", side_pixels=96)
    splits = data.load(dataset_config("store", root=str(tmp_path / "store")))
    for store in (splits.train, splits.test):
        assert store.image_shape == (96, 96, 3)
        assert store.read(torch.arange(len(store))).unique().tolist() == [0, 255]


def test_bad_files_are_left_out_where_images_are_held_out(checkered: Path, tmp_path: Path) -> None:
    for name in ("cat/0.png", "dog/3.png", "dog/4.png"):
        (checkered / name).write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        prepare_held_out(checkered, tmp_path / "store")
    assert caught.value.where.count(".png: no image") > 1
    prepare_held_out(checkered, tmp_path / "store", on_bad="skip", max_bad_fraction=0.9)
    splits = json.loads((tmp_path / "store" / "manifest.json").read_text())["splits"]
    skipped = [item["path"] for split in splits.values() for item in split["skipped"]]
    assert sorted(skipped) == ["cat/0.png", "dog/3.png", "dog/4.png"]


def test_the_most_pixels_hold_where_images_are_held_out(checkered: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="8 of 8 train files") as caught:
        prepare_held_out(checkered, tmp_path / "store", max_image_pixels=100)
    assert "96x96 is more than 100 pixels" in caught.value.where


def test_the_kernel_and_the_threads_reach_images_held_out(checkered: Path) -> None:
    dataset = dataset_config("folder", root=str(checkered), image_size_pixels=24, num_test=2)
    config = prepare_config(dataset, kernel="bicubic", num_threads=3)
    for source in sources_for(data.load(dataset), config).values():
        files = source.store._parent
        assert (files.decoding.kernel, files.decoding.num_threads) == ("bicubic", 3)


def test_a_request_to_stop_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, output = write_train_and_test(tmp_path / "pictures", each=120), tmp_path / "store"
    words = ["prepare", f"dataset.root={root}", f"output={output}", "num_threads=1"]
    words += ["dataset.image_size_pixels=224", "shard_megabytes=1"]
    write = Journal.write

    def write_and_ask(journal: Journal, folder: Path) -> None:
        write(journal, folder)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Journal, "write", write_and_ask)
    code, error = main(words), capsys.readouterr().err
    building = tmp_path / "store.building" / "journal.npz"
    assert code == 143, error
    assert "continue with the same command" in error
    assert "Traceback" not in error
    assert building.exists()
    assert not output.exists()
