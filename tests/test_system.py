"""What differs between systems is in `cnnlab.system` alone, and cnnlab imports without it."""

import errno
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from cnnlab import system
from cnnlab.app.benchmark import peak_memory_bytes
from cnnlab.errors import BusyError
from cnnlab.files import atomic
from cnnlab.run_folder.lock import RunLock, is_held
from tests.test_layout import FILES, SOURCE

LACKING_MODULES = ("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog", "msvcrt")
OF_OS = """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_NOCTTY O_SYNC O_DSYNC pread pwrite readv preadv
    pwritev posix_fadvise posix_fallocate POSIX_FADV_DONTNEED sysconf sysconf_names
    sched_getaffinity sched_setaffinity fork forkpty killpg setsid getuid geteuid getgid mkfifo
    statvfs nice getloadavg sendfile memfd_create fchmod fchown chown wait3 wait4
"""
OF_SIGNAL = """
    SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGQUIT SIGPIPE SIGXCPU SIGPWR SIGCHLD SIGSTOP SIGCONT SIGALRM
    alarm setitimer pthread_sigmask sigwait pause
"""
LACKING = {"os": OF_OS.split(), "signal": OF_SIGNAL.split(), "_signal": OF_SIGNAL.split()}
"""Modules and names that Linux has and Windows lacks, and msvcrt, which Linux lacks."""

IMPORT = re.compile(rf"^\s*(?:import|from) ({'|'.join(LACKING_MODULES)})\b", re.MULTILINE)
USE = re.compile(
    rf"\b(os\.(?:{'|'.join(LACKING['os'])})|_?signal\.(?:{'|'.join(OF_SIGNAL.split())}))\b"
)
ASKED = re.compile(r"\b(?:hasattr|getattr)\((\w+), \"(\w+)\"")


def uses(source: str) -> set[str]:
    """Return the modules and names of LACKING that a file uses, but for those that it asks for."""
    asked = {".".join(found) for found in ASKED.findall(source)}
    return {*IMPORT.findall(source), *USE.findall(source)} - asked


@pytest.mark.parametrize("source", ["import fcntl", "os.O_CLOEXEC", "signal.SIGKILL"])
def test_what_some_systems_lack_is_found(source: str) -> None:
    assert len(uses(source)) == 1
    assert not uses('os.O_CLOEXEC if hasattr(os, "O_CLOEXEC") else os.O_RDONLY')


def test_what_some_systems_lack_is_named_in_one_place() -> None:
    """Elsewhere a file may only use what it asked for with hasattr."""
    found = {
        path.relative_to(SOURCE / "cnnlab").as_posix(): uses(path.read_text(encoding="utf-8"))
        for path in FILES
    }
    assert found.pop("system.py")
    linux_alone = {"os.posix_fadvise", "os.POSIX_FADV_DONTNEED"}
    assert found.pop("files/atomic.py") == linux_alone  # below `sys.platform == "linux"`
    assert {name: names for name, names in found.items() if names} == {}


ELSEWHERE = """
import importlib, os, pkgutil, signal, sys
import _signal

for module in MODULES:
    sys.modules[module] = None  # importing it raises ImportError
for place, of in ((os, "os"), (signal, "signal"), (_signal, "signal")):
    for name in NAMES[of]:
        if hasattr(place, name):
            delattr(place, name)

import cnnlab

for module in pkgutil.walk_packages(cnnlab.__path__, "cnnlab."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_every_module_imports_where_the_system_lacks_what_linux_has() -> None:
    """torch and the others come first: what they import is not ours."""
    others = "import torch, hydra, matplotlib.figure, rich.console, simplejpeg, PIL.Image\n"
    others += "import torch._dynamo, torch.distributed, torch.utils.tensorboard, torchvision\n"
    script = f"{others}MODULES, NAMES = {LACKING_MODULES}, {LACKING}\n{ELSEWHERE}"
    words = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class FakeMsvcrt(types.ModuleType):
    """Lock bytes as Windows does; the second lock of a byte is refused."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: list[tuple[int, int]] = []

    def locking(self, descriptor: int, mode: int, num_bytes: int) -> None:
        assert (mode, num_bytes) == (self.LK_NBLCK, 1)
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if place in self.locked:
            raise OSError(errno.EACCES, "Permission denied")
        self.locked.append(place)


def test_a_run_folder_is_locked_by_a_byte_where_there_is_no_fcntl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = FakeMsvcrt()
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    for name in ("pread", "pwrite"):
        monkeypatch.delattr(os, name)

    held = RunLock(tmp_path)
    ((_, place),) = windows.locked
    assert place > 2**20  # after the note, which others read
    with pytest.raises(BusyError, match=f"written by process {os.getpid()} on "):
        RunLock(tmp_path)
    assert is_held(tmp_path)
    held.release()


def test_reading_and_writing_at_a_place_need_no_pread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pread", "pwrite", "readv"):
        monkeypatch.delattr(os, name)
    with atomic.replacing(tmp_path / "file") as file:
        file.write(b"0123456789")
        file.write_at(2, b"ab")
        file.write(b"!")

    with open(tmp_path / "file", "rb") as written:
        assert system.read_at(written.fileno(), 3, 1) == b"1ab"
        target = bytearray(20)
        os.lseek(written.fileno(), 0, os.SEEK_SET)
        assert system.read_into(written.fileno(), memoryview(target)) == 11
    assert target.rstrip(b"\0") == b"01ab456789!"


def test_without_resource_limits_are_unknown_and_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    assert system.most_open_files()
    assert "ulimit" in atomic.more_open_files()
    assert peak_memory_bytes(torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert system.most_open_files() is None
    assert "ulimit" not in atomic.more_open_files()
    assert peak_memory_bytes(torch.device("cpu")) is None


def test_a_folder_that_cannot_be_opened_is_not_synchronized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "FOLDER", None)
    monkeypatch.setattr(os, "open", None)
    atomic.sync_folder(tmp_path)
