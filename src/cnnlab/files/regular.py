"""Open what lies in a run folder: regular files of a bounded size, and folders; never a link.

A run folder may be a stranger's. A link in it can name any file of the user, a pipe makes its
reader wait for ever, a device has no end. So a file is opened without following a link and without
waiting, and what was opened is looked at before a byte is read or written. The run folder itself
may be reached through links: those are the user's own.
"""

import contextlib
import errno
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cnnlab import system
from cnnlab.errors import CheckpointError
from cnnlab.safe_output import escape_control

MOST_DOCUMENT_BYTES = 16 << 20
"""Bytes of a JSON document that are read; run.json of a real run has some thousand."""

MOST_LINE_BYTES = 1 << 20
_MOST_DIGITS = 20  # of an integer: seeds have 64 bits
_HINT = "cnnlab did not put it there: remove it, or restore the run folder from a copy"
ALWAYS = system.PRIVATE | system.NO_FOLLOW | system.NO_WAIT | system.NO_TERMINAL
"""Flags of `os.open` for whatever lies in a run folder."""


def read(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file.

    Raises CheckpointError for a link, a pipe, a device, a folder, and for a file that is larger
    than most_bytes; OSError as `open` does, FileNotFoundError where there is none.
    """
    with _opened(path, os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as file:
        _check_size(path, descriptor, most_bytes)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise _too_large(path, most_bytes)
    return content


def lines(path: Path, most_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file with their ends, one in memory at a time; none without a file.

    Raises CheckpointError as `read` does, and for a line that is longer than MOST_LINE_BYTES.
    """
    try:
        with _opened(path, os.O_RDONLY) as handle, open(handle, "rb", closefd=False) as file:
            _check_size(path, handle, most_bytes)
            while line := file.readline(MOST_LINE_BYTES + 1):
                if len(line) > MOST_LINE_BYTES:
                    what = f"a file of the run has a line of more than {MOST_LINE_BYTES:,} bytes"
                    raise _refused(path, what)
                yield line
    except FileNotFoundError:
        return


def read_json(path: Path) -> Any:
    """Return the content of a JSON file with finite numbers; others become None.

    Raises ValueError for what is no JSON or nested too deeply, else as `read` does.
    """
    content = read(path, MOST_DOCUMENT_BYTES)
    try:
        return json.loads(
            content,
            parse_constant=lambda _: None,
            parse_float=_finite_or_none,
            parse_int=_bounded_integer,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def append(path: Path) -> IO[str]:
    """Open a text file to append lines to; it is created where there is none.

    Raises CheckpointError as `read` does, OSError as `open` does.
    """
    with _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
        kept = os.dup(descriptor)
    os.set_blocking(kept, True)
    return open(path, "a", encoding="utf-8", newline="", buffering=1, opener=lambda *_: kept)


def remove_before_writing(path: Path) -> Path:
    """Remove what has this name, a link but not the file behind it; return the path.

    For libraries that open a path to write it themselves. Raises CheckpointError for a folder.
    """
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        if path.is_dir():
            check_file(path)
        raise
    return path


def check_file(path: Path) -> None:
    """Raise CheckpointError unless the path is a regular file, or nothing at all."""
    _check_kind(path, stat.S_ISREG)


def check_folder(path: Path) -> None:
    """Raise CheckpointError unless the path is a folder and no link to one, or nothing at all."""
    _check_kind(path, stat.S_ISDIR)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file through no link, never waiting for the other end of a pipe."""
    try:
        descriptor = os.open(path, flags | ALWAYS, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            check_file(path)
        raise

    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, f"a file of the run is {kind_of(status)}, and is not opened")
        yield descriptor
    finally:
        os.close(descriptor)


def _check_kind(path: Path, is_right: Any) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not is_right(status.st_mode):
        wanted = "folder" if is_right is stat.S_ISDIR else "file"
        raise _refused(path, f"a {wanted} of the run is {kind_of(status)}, and is not opened")


def kind_of(status: os.stat_result) -> str:
    """Return in words what a path is that is not what it should be."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device or socket")


def _check_size(path: Path, descriptor: int, most_bytes: int) -> None:
    if os.fstat(descriptor).st_size > most_bytes:
        raise _too_large(path, most_bytes)


def _too_large(path: Path, most_bytes: int) -> CheckpointError:
    return _refused(path, f"a file of the run is larger than {most_bytes:,} bytes")


def _refused(path: Path, what: str) -> CheckpointError:
    return CheckpointError(what, escape_control(str(path)), _HINT)


def _finite_or_none(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _bounded_integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)
