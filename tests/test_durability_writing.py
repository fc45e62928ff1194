"""Saving under fire: crashes at every system call, kills, full disks, vanished folders."""

import errno
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.errors import ResourceError
from cnnlab.files import atomic, checksummed
from cnnlab.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
TENSORS = {"model.w": torch.arange(300_000, dtype=torch.float32)}  # 1.2 MB
BYTES = 1_200_000


def run_script(name: str, *arguments: object) -> object:
    words = [sys.executable, str(ROOT / "scripts" / "torture" / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def test_a_crash_at_any_system_call_of_a_save_loses_nothing(tmp_path: Path) -> None:
    found = run_script("crash_points.py", tmp_path)
    assert isinstance(found, list)
    assert sum(entry["died"] for entry in found) > 40
    for entry in found:
        assert entry["unreadable"] == [], entry
        assert entry["step"] in ((3, 4) if entry["died"] else (4,)), entry
        assert {"best.safetensors", "last.safetensors"} <= set(entry["names"]), entry
        assert not [name for name in entry["names"] if ".tmp-" in name], entry
    assert any(entry["swept"] for entry in found)


def test_killed_writers_leave_only_whole_checkpoints(tmp_path: Path) -> None:
    found = run_script("writers.py", tmp_path, 8, 1)
    assert isinstance(found, dict)
    assert found["unreadable"] == found["saves_lost"] == 0
    assert found["kills_within_a_write"] >= 1


@pytest.mark.slow
def test_200_killed_writers_leave_only_whole_checkpoints(tmp_path: Path) -> None:
    found = run_script("writers.py", tmp_path, 200, 2)
    assert isinstance(found, dict)
    assert found["unreadable"] == found["saves_lost"] == 0


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, {"model.w": torch.ones(3)}, {"step": 1})
    return path


def assert_untouched(path: Path) -> None:
    assert checkpoint.read(path).document["step"] == 1
    assert os.listdir(path.parent) == [path.name]


def test_a_file_size_limit_is_reported_with_file_bytes_and_cause(saved: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="disk full or quota") as caught:
            checkpoint.write(saved, TENSORS, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_code == 6
    assert saved.name in str(caught.value)
    stated = int(re.search(r"\(([\d,]+) bytes\)", str(caught.value))[1].replace(",", ""))  # type: ignore[index]
    assert BYTES < stated < BYTES + 1000
    assert_untouched(saved)


@pytest.mark.parametrize("call", ["open", "write", "pwrite", "fsync", "replace", "close"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_an_error_of_any_system_call_keeps_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    original = getattr(os, call)

    def fails(*arguments: object, **options: object) -> object:
        if call == "close":
            original(*arguments, **options)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        with pytest.raises(ResourceError) as caught:
            checkpoint.write(saved, TENSORS, {"step": 2})
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == number
    assert_untouched(saved)


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: original(fd, data[:50_001]))
    checkpoint.write(tmp_path / "a", TENSORS, {})
    monkeypatch.undo()
    assert torch.equal(checkpoint.read(tmp_path / "a").tensors["model.w"], TENSORS["model.w"])


def test_a_folder_that_vanished_during_the_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="folder is gone") as caught:
        checkpoint.write(tmp_path / "gone" / "a.safetensors", TENSORS, {})
    assert "gone/a.safetensors" in str(caught.value)


def test_too_many_open_files_name_the_limit(saved: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(ResourceError, match="too many open files"):
            checkpoint.write(saved, TENSORS, {})
        with pytest.raises(ResourceError, match="too many open files"):
            checkpoint.read(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert_untouched(saved)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(saved: Path) -> None:
    saved.parent.chmod(0o500)
    try:
        with pytest.raises(ResourceError, match="not permitted"):
            checkpoint.write(saved, TENSORS, {})
    finally:
        saved.parent.chmod(0o700)
    assert_untouched(saved)


def test_an_exception_in_the_middle_of_a_write_removes_the_half_file(saved: Path) -> None:
    class Poison(torch.Tensor):
        def reshape(self, *_: object) -> torch.Tensor:  # type: ignore[override]
            raise KeyboardInterrupt

    tensors = {"a": torch.ones(300_000), "z": torch.ones(3).as_subclass(Poison)}
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(saved, tensors, {"step": 2})
    assert_untouched(saved)


def test_a_digest_thread_that_fails_ends_the_save_and_publishes_nothing(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, _: bytes) -> None:
            self.num_pieces = 0

        def update(self, _: memoryview) -> None:
            self.num_pieces += 1
            if self.num_pieces > 2:
                raise MemoryError

    monkeypatch.setattr(hashlib, "sha256", Failing)
    tensors = {"a": torch.ones(2 * checksummed._PIECES_WAITING * checkpoint._PIECE_BYTES // 4)}
    with pytest.raises(MemoryError):
        checkpoint.write(saved, tensors, {"step": 2})
    monkeypatch.undo()
    assert_untouched(saved)


def test_a_leftover_of_a_process_with_our_number_does_not_stop_a_save(saved: Path) -> None:
    leftover = saved.with_name(f"{saved.name}{atomic.TEMPORARY_MARK}{os.getpid()}")
    leftover.write_bytes(b"half")
    checkpoint.write(saved, TENSORS, {"step": 2})
    assert checkpoint.read(saved).document["step"] == 2
    assert not leftover.exists()


def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be tested by killing a process; the order of the calls can be read."""
    calls: list[str] = []
    for name in ("write", "pwrite", "fsync", "replace"):
        original = getattr(os, name)

        def noted(*arguments: object, _name: str = name, _original=original, **options: object):  # type: ignore[no-untyped-def]
            folder = _name == "fsync" and os.path.isdir(
                os.readlink(f"/proc/self/fd/{arguments[0]}")
            )
            calls.append("fsync folder" if folder else _name)
            return _original(*arguments, **options)

        monkeypatch.setattr(os, name, noted)
    checkpoint.write(tmp_path / "a", {"model.w": torch.ones(3)}, {})
    assert calls == ["write", "write", "pwrite", "fsync", "replace", "fsync folder"]


def test_a_save_takes_no_second_copy_of_the_tensors(tmp_path: Path) -> None:
    """100 MB are saved by a process that may grow by 50 MB."""
    code = """
import resource, sys, torch
from cnnlab import checkpoint
torch.set_num_threads(1)
tensors = {f"model.{i}": torch.full((5_000_000,), float(i)) for i in range(5)}
checkpoint.write(sys.argv[1], {"a": torch.ones(3)}, {})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
checkpoint.write(sys.argv[1], tensors, {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "a")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50 * 1024


def test_a_whole_run_folder_stays_usable_when_a_save_fails(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.lock()
    checkpoint.write(run.checkpoint_file(1), TENSORS, {"step": 1})
    run.mark(1, "last")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ResourceError):
            checkpoint.write(run.checkpoint_file(2), TENSORS, {"step": 2})
        run.update_status(status="failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        run.release()
    assert run.status()["status"] == "failed"
    assert checkpoint.read(run.checkpoints / "last.safetensors").document["step"] == 1
