"""One writer per run folder: a lock that the system releases when its holder dies."""

import errno
import json
import os
import socket
from pathlib import Path

from cnnlab import system
from cnnlab.errors import BusyError, UnwritableError
from cnnlab.files import regular
from cnnlab.safe_output import escape_control

_MAX_NOTE_BYTES = 4096


class RunLock:
    """A lock on `folder/lock`, held from construction until `release` or the end of the process.

    The file names its holder; the name of a holder that is gone is overwritten. Raises BusyError
    with pid and host while another process (or object) holds it, CheckpointError for a lock that is
    a link, a pipe or the like.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        regular.check_file(self._path)
        flags = os.O_RDWR | os.O_CREAT | regular.ALWAYS
        try:
            self._descriptor: int | None = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise self._unusable(error) from error

        try:
            system.lock(self._descriptor)
            self._note_holder()
        except OSError as error:
            note = system.read_at(self._descriptor, _MAX_NOTE_BYTES, 0)
            self.release()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise self._busy(note) from error
            raise self._unusable(error) from error

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _note_holder(self) -> None:
        assert self._descriptor is not None
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}, allow_nan=False)
        os.ftruncate(self._descriptor, 0)
        system.write_at(self._descriptor, note.encode(), 0)

    def _busy(self, note: bytes) -> BusyError:
        try:
            holder = json.loads(note)
            who = f"process {int(holder['pid'])} on {escape_control(str(holder['host']))[:100]}"
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            who = "another process"
        return BusyError(
            f"the run folder is being written by {who}",
            escape_control(str(self._path.parent)),
            "wait until it ends, or start a new run: leave out resume",
        )

    def _unusable(self, error: OSError) -> UnwritableError:
        return UnwritableError(
            f"cannot lock the run folder: {os.strerror(error.errno or 0)}",
            escape_control(str(self._path)),
            elsewhere="use a folder on a disk with locks that you may write to",
        )


def is_held(folder: Path) -> bool:
    """Return whether a process holds the lock of a run folder; changes nothing."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | regular.ALWAYS)
    except OSError:
        return False
    try:
        system.lock(descriptor, shared=True)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
