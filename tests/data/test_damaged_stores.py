"""Every file of a Store and of a preparation, damaged: the file is named, with exit code 3."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.command import failures
from cnnlab.data import build_lock, journal
from cnnlab.data.manifest import FileEntry, entry_of
from cnnlab.data.prepared import open_splits
from cnnlab.errors import BusyError, DataError, ResourceError
from scripts.torture.stores import DAMAGES, STRICT, builder, damage, interrupt, read_all


@pytest.fixture(scope="module", params=["uint8", "jpeg"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp(request.param) / "store"
    builder(output, request.param).run(STRICT)
    return output


def copies(store: Path, tmp_path: Path) -> list[tuple[str, Path]]:
    """Return (file, copy of the Store in which it is to be damaged), a file of each kind."""
    shards = ("train_00001.npy", "train_00001.jpegs")
    names = [p.name for p in sorted(store.iterdir()) if "_0" not in p.name or p.name in shards]
    assert {"manifest.json", "mean_image.npy", "train_labels.npy"} < {*names}
    return [(name, shutil.copytree(store, tmp_path / name)) for name in names]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_of_a_store_is_named_before_training(
    store: Path, tmp_path: Path, kind: str
) -> None:
    for name, copy in copies(store, tmp_path):
        damage(kind, copy / name)
        with pytest.raises(DataError) as caught:
            read_all(open_splits(copy))
        assert caught.value.exit_code == 3
        assert name in caught.value.where, caught.value


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_shard_that_is_damaged_while_training_is_named_or_changes_pixels_alone(
    store: Path, tmp_path: Path, kind: str
) -> None:
    """A flipped pixel in use is found by `prepare verify=true` and at the next opening."""
    for name, copy in copies(store, tmp_path):
        splits = open_splits(copy)
        if kind != "removed":  # a mapped file that is removed stays until the end
            read_all(splits)
        damage(kind, copy / name)
        must_be_noticed = "_0" in name and kind in ("removed", "cut_end", "emptied")
        try:
            read_all(splits)
        except DataError as error:
            assert name in error.where  # noqa: PT017 - it need not be raised
        else:
            assert not must_be_noticed


def test_a_shard_that_is_cut_in_use_does_not_kill_the_process(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    splits = open_splits(copy)
    read_all(splits)
    shard = next(path for path in copy.iterdir() if path.name.startswith("train_00002"))
    os.truncate(shard, 40)
    with pytest.raises(DataError, match="cut to 40 bytes while in use") as caught:
        read_all(splits)
    assert shard.name in caught.value.where


def test_an_index_that_goes_round_the_end_of_its_numbers_is_damage(
    store: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(store, tmp_path / "copy")
    splits = open_splits(copy)
    if not splits.train.decodes:
        return
    shard = copy / "train_00000.jpegs"
    content = bytearray(shard.read_bytes())
    ends = np.frombuffer(content, "<i8", count=2, offset=len(content) - 24)
    content[-24:-8] = np.array([ends[0] + 3 * 2**61, ends[1] - 3 * 2**61], "<i8").tobytes()
    shard.write_bytes(content)
    with pytest.raises(DataError, match="its index is damaged"):
        read_all(splits)


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A preparation that was stopped after some shards."""
    interrupt(tmp_path / "store", "uint8")
    return tmp_path / "store"


HARMLESS = {
    ("journal.npz", "removed"): "nothing is known to be finished: all of it is made again",
    ("journal.npz", "flipped_header"): "a field of the zip archive that has a second copy",
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["journal.npz", "train_00000.npy"])
def test_a_damaged_file_of_a_preparation_is_named(interrupted: Path, name: str, kind: str) -> None:
    damaged = interrupted.with_name("store.building") / name
    damage(kind, damaged)
    if (name, kind) in HARMLESS:
        builder(interrupted, "uint8").run(STRICT)
        return
    with pytest.raises(DataError) as caught:
        builder(interrupted, "uint8").run(STRICT)
    assert name in caught.value.where
    assert damaged.parent.exists()  # nothing is thrown away unasked


@pytest.mark.slow
def test_any_flipped_byte_of_a_journal_is_named_or_harmless(interrupted: Path) -> None:
    path = interrupted.with_name("store.building") / "journal.npz"
    content, built = path.read_bytes(), builder(interrupted, "uint8")
    shape = built.image_shape
    right = journal.read(path.parent, built.plan, shape)
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            found = journal.read(path.parent, built.plan, shape)
        except DataError:
            continue
        assert found.splits == right.splits
        assert torch.equal(found.sums.pixel, right.sums.pixel)


@pytest.mark.parametrize(
    "wrong",
    [{"num_bytes": "9"}, {"num_bytes": -1}, {"name": "../x"}, {"blocks": "0"}, {"sha256": None}],
)
def test_a_forged_entry_of_a_file_is_refused(wrong: dict[str, object]) -> None:
    plain = vars(FileEntry("a.npy", 10, "0" * 64)) | wrong
    with pytest.raises((ValueError, TypeError)):
        entry_of(plain)


def test_a_file_system_without_locks_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with build_lock.building(tmp_path / "held", 0):
        with pytest.raises(BusyError), build_lock.building(tmp_path / "held", 0):
            pass
        monkeypatch.setattr(fcntl, "flock", no_locks)
        with (
            pytest.raises(ResourceError, match="cannot lock the output: No locks"),
            build_lock.building(tmp_path / "held", 0),
        ):
            pass


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_disk_that_fails_is_no_bug(number: int) -> None:
    said = failures.shortage(OSError(number, os.strerror(number), "x.npy"), "")
    assert said is not None
    assert said.startswith("the disk fails")
    assert "x.npy" in said
