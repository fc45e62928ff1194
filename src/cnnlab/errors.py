"""The errors that end a command, each with its exit code.

A message has up to three lines: what is wrong, where, and what to do. The codes are public:
0 done, 1 a bug in cnnlab, 2 usage or config, 3 data, 4 checkpoint, 5 numerics, 6 resources,
7 a peer process lost, 8 busy or exists, 141 nobody reads the output any more, 128 + n ended by
signal n with the state saved (130 Ctrl-C, 143 SIGTERM).
"""

import errno
import sys
from typing import Any


class CnnlabError(Exception):
    """An error with a message of up to three lines; its traceback goes to the run's log.

    what: what is wrong, one sentence without a full stop. where: a path, key or index. hint: what
    the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.where, self.hint) if part)


class UsageError(CnnlabError):
    """A command, key or value that cannot be used."""

    exit_code = 2


class DataError(CnnlabError):
    """Images or labels that are missing, damaged or of the wrong shape."""

    exit_code = 3


class BadFilesError(DataError):
    """Files without a usable image, where `dataset.on_bad=skip` would leave them out."""


class CheckpointError(CnnlabError):
    """A checkpoint that is missing, damaged, not cnnlab's, or of another model."""

    exit_code = 4


class NumericsError(CnnlabError):
    """A loss, gradient or weight that is not finite."""

    exit_code = 5


class ResourceError(CnnlabError):
    """A lack of disk space, memory, file handles or a device."""

    exit_code = 6


class UnwritableError(ResourceError):
    """A path that cannot be written to.

    hint: what helps at this path, may be empty. elsewhere: the start of the advice to write
    somewhere else, which `with_places` completes with the settings of the command.
    """

    def __init__(self, what: str, where: str = "", hint: str = "", elsewhere: str = "") -> None:
        super().__init__(what, where, hint)
        self.elsewhere = elsewhere

    def with_places(self, places: str) -> ResourceError:
        """Return the error with the settings that say where this command writes."""
        other = f"{self.elsewhere}: {places}" if self.elsewhere and places else ""
        return ResourceError(self.what, self.where, ", or ".join(filter(None, [self.hint, other])))


class PeerLostError(CnnlabError):
    """Another process of this job died, failed or stopped responding."""

    exit_code = 7


class MemberError(PeerLostError):
    """A member of an ensemble failed in its own process, whose exit code this error has."""

    def __init__(self, exit_code: int, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.exit_code = exit_code


class BusyError(CnnlabError):
    """A folder or file that exists already or is being written by another process."""

    exit_code = 8


class Interrupted(KeyboardInterrupt):
    """Ctrl-C (130) or another request to end (143 for SIGTERM), after the state was saved.

    A KeyboardInterrupt, so that a sweep ends instead of starting its next job.
    """

    def __init__(self, exit_code: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        """Return how it is made again: it leaves a worker process with its message."""
        return type(self), (self.exit_code, str(self))


class OutputLost(SystemExit):
    """Standard output takes no more text, and the command ends as `cat` would.

    141 without a word where its reader went away, else 6. A SystemExit, so that no library takes it
    for an error of its own, and a sweep ends.
    """

    def __init__(self, error: OSError) -> None:
        self.is_unread = error.errno == errno.EPIPE
        self.exit_code = 141 if self.is_unread else ResourceError.exit_code
        super().__init__(self.exit_code)
        self.message = f"standard output cannot be written: {error.strerror}"

    def __str__(self) -> str:
        return self.message


class RunError(Exception):
    """Wraps the error that ended a run, with the run folder, whose log takes the traceback."""

    def __init__(self, run: str, error: BaseException) -> None:
        super().__init__(run, error)
        self.run, self.error = run, error


class ShownError(Exception):
    """Wraps an error whose message another process of this job has shown."""

    def __init__(self, error: CnnlabError) -> None:
        super().__init__(error)
        self.error = error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the host or the device ran out of memory; torch need not be imported."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    message = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(word in message for word in _NO_MEMORY)


_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN
    "'out of memory'",  # NCCL, which quotes the driver
)
"""What torch says where it has no class of its own for it."""
