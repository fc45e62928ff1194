import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab import data
from cnnlab.app.prepare import recipe_for, sources_for
from cnnlab.config.verbs.prepare import PrepareConfig
from cnnlab.data import manifest
from cnnlab.data.building import Builder
from cnnlab.data.journal import Journal
from cnnlab.data.moments import Sums
from cnnlab.data.prepared import open_splits
from cnnlab.data.recipe import Recipe, Tolerance
from cnnlab.data.workers import Workers
from cnnlab.errors import BusyError, CnnlabError, DataError, ResourceError
from tests.data.pictures import write_train_and_test
from tests.data.settings import dataset_config, prepare_config
from tests.reference import moments as reference

STRICT = Tolerance("fail", 0.0)
SMALL_SHARD_BYTES = 10_000  # three images of 32x32x3


def config_for(root: Path, **changes) -> PrepareConfig:
    dataset = dataset_config("folder", root=str(root), image_size_pixels=32)
    return prepare_config(dataset, **changes)


def builder(
    root: Path,
    output: Path,
    num_threads: int = 1,
    progress: Callable[[int], None] = lambda num_done: None,
    **changes,
) -> Builder:
    config = config_for(root, num_threads=num_threads, **changes)
    sources = sources_for(data.load(config.dataset), config)
    recipe: Recipe = replace(recipe_for(config), shard_bytes=SMALL_SHARD_BYTES)
    return Builder(sources, recipe, output, Workers(num_threads), progress)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_train_and_test(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "store"
    builder(root, output).run(STRICT)
    return output


def test_a_uint8_store_holds_exactly_the_decoded_pixels(root: Path, finished: Path) -> None:
    prepared = open_splits(finished)
    splits = data.load(dataset_config("folder", root=str(root), image_size_pixels=32))
    for stored, original in ((prepared.train, splits.train), (prepared.test, splits.test)):
        everything = torch.arange(len(original))
        assert torch.equal(stored.read(everything), original.read(everything))
        assert torch.equal(stored.labels, original.labels)
        assert stored.class_names == original.class_names
        assert stored.image_shape == (32, 32, 3)


def test_a_jpeg_store_is_close_to_the_decoded_pixels(root: Path, tmp_path: Path) -> None:
    builder(root, tmp_path / "store", encoding="jpeg", quality=95).run(STRICT)
    stored = open_splits(tmp_path / "store").train
    original = data.load(dataset_config("folder", root=str(root), image_size_pixels=32)).train
    order = torch.randperm(len(original))
    difference = stored.read(order).float() - original.read(order).float()
    assert difference.abs().mean() < 3
    assert stored.encoding == "jpeg"


def test_one_and_four_threads_give_the_same_bytes(
    root: Path, finished: Path, tmp_path: Path
) -> None:
    builder(root, tmp_path / "store", num_threads=4).run(STRICT)
    assert contents(tmp_path / "store") == contents(finished)
    for encoding_threads in (1, 4):
        output = tmp_path / f"jpeg{encoding_threads}"
        builder(root, output, num_threads=encoding_threads, encoding="jpeg").run(STRICT)
    assert contents(tmp_path / "jpeg1") == contents(tmp_path / "jpeg4")


def test_statistics_are_those_of_all_training_pixels(finished: Path) -> None:
    store = open_splits(finished).train
    pixels = store.read(torch.arange(len(store))).numpy()
    expected = reference.statistics(pixels)
    np.testing.assert_allclose(store.statistics.mean, expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(store.statistics.std, expected["std"], rtol=1e-9)
    np.testing.assert_allclose(store.statistics.covariance, expected["covariance"], rtol=1e-9)
    np.testing.assert_allclose(store.statistics.mean_image, expected["mean_image"], rtol=1e-12)


def test_preparing_again_changes_nothing(root: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    builder(root, finished).run(STRICT)
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before


def test_a_changed_source_or_recipe_is_told_and_nothing_overwritten(
    root: Path, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"recipe \(kernel\) has changed"):
        builder(root, finished, kernel="bicubic").run(STRICT)
    changed = tmp_path / "pictures"
    shutil.copytree(root, changed)
    next((changed / "train" / "class_1").iterdir()).unlink()
    with pytest.raises(DataError, match="source has changed") as caught:
        builder(changed, finished).run(STRICT)
    assert "rebuild" in caught.value.hint
    manifest.verify(finished, manifest.read(finished))


def test_an_output_that_is_something_else_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BusyError, match="is not a Store"):
        builder(root, tmp_path).run(STRICT)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_too_little_space_is_refused_before_the_first_byte(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ResourceError, match=r"needs 17,\d+,\d+ bytes, 1,000 are free"):
        builder(root, tmp_path / "store").run(STRICT)
    assert not list(tmp_path.rglob("*.npy"))


DAMAGE = {
    "a flipped byte": (lambda raw: raw[:200] + bytes([raw[200] ^ 1]) + raw[201:], "digest"),
    "a byte short": (lambda raw: raw[:-1], "length"),
    "a byte long": (lambda raw: raw + b"\0", "length"),
    "nothing": (lambda raw: b"", "length"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["train_00001.npy", "train_labels.npy", "mean_image.npy"])
def test_damage_is_found(finished: Path, tmp_path: Path, name: str, kind: str) -> None:
    folder = tmp_path / "store"
    shutil.copytree(finished, folder)
    change, found_by = DAMAGE[kind]
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    if found_by == "length":
        with pytest.raises(DataError, match=name):
            open_splits(folder)
        return
    checks = (lambda: manifest.verify(folder, manifest.read(folder)), lambda: open_splits(folder))
    for check in checks:
        with pytest.raises(DataError, match=name) as caught:
            check()
        assert "prepare it again" in caught.value.hint


@pytest.mark.parametrize("place", [3, 50, 500, 1500, -40])
def test_a_flipped_byte_in_the_manifest_is_found(
    finished: Path, tmp_path: Path, place: int
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(finished, folder)
    raw = bytearray((folder / manifest.FILE_NAME).read_bytes())
    raw[place] ^= 1
    (folder / manifest.FILE_NAME).write_bytes(raw)
    with pytest.raises(DataError, match="manifest"):
        open_splits(folder)


def test_a_manifest_of_another_version_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(finished, folder)
    text = (folder / manifest.FILE_NAME).read_text()
    newer = text.replace('"format_version": 2', '"format_version": 3')
    (folder / manifest.FILE_NAME).write_text(newer)
    with pytest.raises(DataError, match="format version 3, not 2 or earlier"):
        open_splits(folder)


def make_earlier(folder: Path) -> None:
    """Rewrite a Store's manifest as version 1 had it: without the sums of blocks."""
    document = json.loads((folder / manifest.FILE_NAME).read_text())
    del document["sha256"]
    document["format_version"] = 1
    for split in document["splits"].values():
        for entry in split["shards"]:
            del entry["blocks"]
    for entry in document["files"]:
        del entry["blocks"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / manifest.FILE_NAME).write_text(json.dumps(document))


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0x10
    path.write_bytes(raw)


def test_a_store_of_an_earlier_version_opens_with_its_digest_and_says_what_is_not_checked(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(finished, folder)
    make_earlier(folder)
    now, earlier = open_splits(finished), open_splits(folder)
    assert earlier.train.digest == now.train.digest
    assert earlier.test.digest == now.test.digest
    assert "verify=true checks its pixels" in earlier.train.note
    assert now.train.note == ""
    assert torch.equal(earlier.train.read(torch.arange(64)), now.train.read(torch.arange(64)))

    flip(folder / "train_00001.npy", -1)
    assert open_splits(folder).train.digest == now.train.digest
    with pytest.raises(DataError, match=r"train_00001\.npy"):
        manifest.verify(folder, manifest.read(folder))
    flip(folder / "test_labels.npy", -8)
    with pytest.raises(DataError, match=r"test_labels\.npy"):
        open_splits(folder)


@pytest.mark.parametrize("encoding", ["uint8", "jpeg"])
def test_a_shard_cut_short_after_the_store_was_opened_is_refused_before_it_is_mapped(
    encoding: str, root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    builder(root, folder, encoding=encoding).run(STRICT)
    store = open_splits(folder).train
    shard = folder / store._entry.shards[1].name
    os.truncate(shard, shard.stat().st_size // 2)
    with pytest.raises(DataError, match="bytes, expected") as caught:
        store.read(torch.arange(len(store)))
    assert str(shard) in caught.value.where


def test_a_jpeg_that_changed_after_the_store_was_opened_is_named(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    builder(root, folder, encoding="jpeg").run(STRICT)
    store = open_splits(folder).train
    shard = folder / store._entry.shards[0].name
    with shard.open("r+b") as file:
        file.write(b"no JPEG")
    with pytest.raises(DataError, match="image 0: ") as caught:
        store.read(torch.arange(1))
    assert str(shard) in caught.value.where


class StopError(Exception):
    pass


@pytest.mark.parametrize("num_done", [1, 17, 40, 64, 70, 79])
def test_an_interrupted_preparation_goes_on_to_the_same_bytes(
    root: Path, finished: Path, tmp_path: Path, num_done: int
) -> None:
    def stop(done: int) -> None:
        if done >= num_done:
            raise StopError

    interrupted = builder(root, tmp_path / "store", progress=stop)
    with pytest.raises(StopError):
        interrupted.run(STRICT)
    assert not (tmp_path / "store").exists()
    builder(root, tmp_path / "store").run(STRICT)
    assert contents(tmp_path / "store") == contents(finished)
    assert not (tmp_path / "store.building").exists()


def test_a_half_made_store_of_another_source_is_started_afresh(
    root: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "store.building")
    Journal("another plan", Sums.empty((32, 32, 3))).write(tmp_path / "store.building")
    (tmp_path / "store.building" / "train_00000.npy").write_bytes(b"junk")
    builder(root, tmp_path / "store").run(STRICT)
    assert contents(tmp_path / "store") == contents(finished)


def start(root: Path, output: Path, wait_seconds: float = 0) -> multiprocessing.Process:
    """Start a preparation in a process of its own; it ends with 0, or with the error's code."""

    def prepare() -> None:
        torch.set_num_threads(1)
        try:
            builder(root, output).run(STRICT, wait_seconds)
        except CnnlabError as error:
            os._exit(error.exit_code)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=prepare)
    child.start()
    return child


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("num_kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_leave_a_byte_identical_store(
    tmp_path: Path, num_kills: int
) -> None:
    root, output, moments = tmp_path / "pictures", tmp_path / "store", random.Random(0)
    write_train_and_test(root, each=4)
    started = time.monotonic()
    builder(root, tmp_path / "whole").run(STRICT)
    whole_seconds = time.monotonic() - started
    expected, num_killed = contents(tmp_path / "whole"), 0
    for _ in range(200):
        child = start(root, output)
        child.join(moments.uniform(0, whole_seconds))
        child.kill()
        child.join()
        num_killed += child.exitcode == -signal.SIGKILL
        if output.exists():  # whole from the moment that it has its name
            assert contents(output) == expected
            shutil.rmtree(output)
        if num_killed >= num_kills:
            break
    assert num_killed >= num_kills
    builder(root, output).run(STRICT)
    assert contents(output) == expected
    assert not list(tmp_path.glob("store.building*"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(("wait_seconds", "codes"), [(0, {0, 8}), (60, {0})])
def test_eight_processes_build_one_store_once(
    root: Path, finished: Path, tmp_path: Path, wait_seconds: float, codes: set[int]
) -> None:
    children = [start(root, tmp_path / "store", wait_seconds) for _ in range(8)]
    for child in children:
        child.join()
    assert {child.exitcode for child in children} == codes
    assert contents(tmp_path / "store") == contents(finished)


def test_a_kill_between_the_last_two_steps_only_leaves_the_renaming(
    root: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "store.building")
    before = (tmp_path / "store.building" / "train_00000.npy").stat().st_ino
    builder(root, tmp_path / "store").run(STRICT)
    assert (tmp_path / "store" / "train_00000.npy").stat().st_ino == before
    assert contents(tmp_path / "store") == contents(finished)


def test_training_never_opens_a_half_made_store(root: Path, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done > 30:
            raise StopError

    interrupted = builder(root, tmp_path / "store", progress=stop)
    with pytest.raises(StopError):
        interrupted.run(STRICT)
    for folder in ("store", "store.building"):
        with pytest.raises(DataError, match="no prepared Store"):
            data.build(dataset_config("store", root=str(tmp_path / folder)))


def test_a_store_trains_under_its_own_name_and_as_store(finished: Path) -> None:
    for name in ("folder", "store"):
        config = dataset_config(name, root=str(finished), num_validation=8)
        splits = data.build(config)
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (56, 8, 16)
    with pytest.raises(DataError, match="a Store of folder, not of gtsrb"):
        data.build(dataset_config("gtsrb", root=str(finished)))


def test_sets_in_memory_are_prepared_too(tmp_path: Path) -> None:
    dataset = dataset_config("synthetic", num_train=40, num_test=20, image_size_pixels=16)
    config = prepare_config(dataset, side_pixels=12)
    sources = sources_for(data.load(dataset), config)
    Builder(sources, recipe_for(config), tmp_path / "store", Workers(1)).run(STRICT)
    store = open_splits(tmp_path / "store").train
    assert store.image_shape == (12, 12, 3)
    assert len(store) == 40
