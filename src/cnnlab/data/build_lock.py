"""One preparation of a Store at a time: a lock file beside the output, held by one process.

The system releases it when the process ends, however it ends.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cnnlab import interrupts, system
from cnnlab.errors import BusyError, ResourceError
from cnnlab.safe_output import escape_control

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def building(output: Path, wait_seconds: float) -> Iterator[None]:
    """Hold the lock `<output>.lock` in the block.

    Raises BusyError while another process does, ResourceError where the file system has no locks.
    """
    path = output.with_name(f"{output.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | system.PRIVATE, 0o666)
    except OSError as error:
        raise ResourceError(
            f"cannot write the lock file: {error.strerror}",
            escape_control(str(path.absolute())),
            "choose another output",
        ) from error

    try:
        with interrupts.at_once():
            _wait(descriptor, output, time.monotonic() + wait_seconds)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, output: Path, until: float) -> None:
    while True:
        try:
            return system.lock(descriptor)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ResourceError(
                    f"cannot lock the output: {error.strerror}",
                    escape_control(str(output.absolute())),
                    "choose an output on a file system with locks",
                ) from error
            if time.monotonic() >= until:
                raise BusyError(
                    "another process prepares this Store",
                    escape_control(str(output.absolute())),
                    "wait for it with wait_seconds=3600, or use another output",
                ) from error
            time.sleep(_POLL_SECONDS)
