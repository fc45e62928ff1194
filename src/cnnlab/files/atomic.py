"""Atomic writes: a file is there whole or not at all.

The order is: temporary file in the same folder, write, fsync, rename, fsync of the folder. Until
the rename the previous file is untouched; `sweep` removes the temporary file of a killed process.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cnnlab import system
from cnnlab.errors import UnwritableError
from cnnlab.safe_output import escape_control

TEMPORARY_MARK = ".tmp-"
_COPY_BYTES = 1 << 20
_HAND_OVER_BYTES = 4 << 20

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_HANDLES = {errno.EMFILE, errno.ENFILE}
DISK_FAILS = {errno.EIO, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT, errno.EREMOTEIO}
"""Error numbers for a lack of space, of permission, and of file handles, and for a disk or a file
server that fails."""

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}


class Replacement:
    """The temporary file that will replace another; counts the bytes written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._num_handed_over = 0
        self.num_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`, in as many system calls as it takes."""
        rest = memoryview(data).cast("B")
        while rest:
            taken = os.write(self._descriptor, rest)
            rest = rest[taken:]
            self.num_bytes += taken

        if self.num_bytes - self._num_handed_over >= _HAND_OVER_BYTES:
            self._hand_over()

    def write_at(self, offset_bytes: int, data: bytes) -> None:
        """Overwrite bytes that were written before."""
        taken = system.write_at(self._descriptor, data, offset_bytes)
        if taken != len(data):
            raise OSError(errno.EIO, "a short write")

    def _hand_over(self) -> None:
        """Start writing to disk what there is so far, so that the final sync is short.

        On Linux the advice that pages will not be needed starts their writeback; they stay cached
        meanwhile. Elsewhere a write is as safe, and slower.
        """
        first, self._num_handed_over = self._num_handed_over, self.num_bytes
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.posix_fadvise(
                    self._descriptor, first, self.num_bytes - first, os.POSIX_FADV_DONTNEED
                )


@contextlib.contextmanager
def replacing(path: str | Path, expected_bytes: int = 0) -> Iterator[Replacement]:
    """Give a file to write that replaces `path` when the block ends without an exception.

    expected_bytes is for the message alone. Raises ResourceError when the disk is full or the
    folder gone or not writable; the previous file is untouched then.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}")

    try:
        with _removed_unless_renamed(temporary):
            descriptor = _create(temporary)
            try:
                yield Replacement(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        sync_folder(path.parent)  # the rename itself is not on disk before
    except OSError as error:
        raise unwritable(path, error, expected_bytes) from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically. Raises ResourceError as `replacing` does."""
    with replacing(path, len(data)) as file:
        file.write(data)


def link(source: Path, target: Path) -> None:
    """Make `target` another name of the file `source`, replacing what has that name.

    It is a hard link, or a copy where the file system has no links. Raises ResourceError.
    """
    if target.exists() and target.samefile(source):
        return  # a rename between two names of one file does nothing

    temporary = target.with_name(f"{target.name}{TEMPORARY_MARK}{os.getpid()}")
    try:
        with _removed_unless_renamed(temporary):
            temporary.unlink(missing_ok=True)
            os.link(source, temporary)
            os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise unwritable(target, error) from error
        _copy(source, target)


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files of killed processes from the folder and return them.

    Only for the one process that may write there: those of a living process look the same.
    """
    leftovers = sorted(folder.glob(f"*{TEMPORARY_MARK}*"))
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            leftover.unlink()
    return leftovers


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut, where the system can."""
    if system.FOLDER is None:
        return
    descriptor = os.open(folder, os.O_RDONLY | system.FOLDER)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError, expected_bytes: int = 0) -> UnwritableError:
    """Return the error for a failed write: the file, its size, the cause and what to do."""
    amount = f" ({expected_bytes:,} bytes)" if expected_bytes else ""
    message, hint, elsewhere = _cause(error)
    what = f"cannot write the file{amount}: {message}"
    return UnwritableError(what, escape_control(str(path)), hint, elsewhere)


def _cause(error: OSError) -> tuple[str, str, str]:
    """Return the cause, what helps at this path, and the advice to write elsewhere."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in NO_SPACE:
        return f"disk full or quota ({reason})", "free space", "use another disk"
    if error.errno in NOT_ALLOWED:
        return f"not permitted ({reason})", "", "use a folder you may write to"
    if error.errno in NO_HANDLES:
        return f"too many open files ({reason})", more_open_files(), ""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "its folder is gone", "it was removed or renamed during the run", ""
    return reason, "", ""


def more_open_files() -> str:
    """Return the command that raises the limit of open files to twice what it is."""
    limit = system.most_open_files()
    if limit is None:
        return "close other programs, or read with fewer threads: dataset.num_decode_threads=1"
    return f"raise the limit of {limit}: ulimit -n {max(4096, 2 * limit)}"


def _create(temporary: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | system.PRIVATE
    try:
        return os.open(temporary, flags, 0o666)
    except FileExistsError:  # left by a killed process with the same pid
        temporary.unlink()
        return os.open(temporary, flags, 0o666)


@contextlib.contextmanager
def _removed_unless_renamed(temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as original, replacing(target, source.stat().st_size) as file:
        while chunk := original.read(_COPY_BYTES):
            file.write(chunk)
