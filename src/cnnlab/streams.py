"""Standard output and standard error that may fail: closed, full, or without a reader.

A command whose output is lost ends as `cat` does; a training goes on into its log. A message that
standard error does not take is lost: the exit code says what happened.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from cnnlab.errors import OutputLost
from cnnlab.safe_output import DEGRADING


class GuardedStream:
    """A text stream that writes to another one until that fails, and nowhere from then on.

    stream: None where the descriptor was closed before Python started. ends: whether a text that
    is lost raises OutputLost. is_ours: whether the process is a command of ours, and not a program
    that called cnnlab. lost: the system's first error; None as long as there is none.
    Characters that the stream cannot encode are replaced, until `leave`.
    """

    def __init__(self, stream: TextIO | None, *, ends: bool, is_ours: bool = True) -> None:
        self.ends, self._is_ours = ends, is_ours
        self.lost: OSError | None = None
        if stream is None:
            self.lost = _closed()
            stream = io.TextIOWrapper(io.BytesIO(), "utf-8")  # nothing is ever written to it
        self._stream, self._errors = stream, getattr(stream, "errors", None)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=DEGRADING)

    def leave(self) -> None:
        """Pass on what was written, and leave the stream as it was found."""
        self.ends = False  # a logger may keep this object
        self.flush()
        if isinstance(self._stream, io.TextIOWrapper) and not self._stream.closed:
            self._stream.reconfigure(errors=self._errors)

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        if self.lost is None:
            self._attempt(lambda: self._stream.write(text))
        elif self.ends and text:
            raise OutputLost(self.lost)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, or lose it."""
        if self.lost is None:
            self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._give_up(error)
        except ValueError:  # a stream that was closed; or letters that it lacks
            if not self._stream.closed:
                raise
            self._give_up(_closed())

    def _give_up(self, error: OSError) -> None:
        self.lost = error
        if not self._is_ours:
            return
        # what is still in Python's buffer would fail again when Python exits
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

        if self.ends:
            raise OutputLost(error)


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


@contextlib.contextmanager
def guarded(*, ends: bool = True, is_ours: bool = True) -> Iterator[None]:
    """Guard standard output and standard error inside the block.

    ends: whether losing standard output raises OutputLost; a block in a block decides for itself.
    is_ours: whether this process is a command, and not a program that called cnnlab.
    """
    outer = sys.stdout
    if isinstance(outer, GuardedStream):
        before, outer.ends = outer.ends, ends
        try:
            yield
        finally:
            outer.ends = before
        return

    replaced = sys.stdout, sys.stderr
    guards = (
        GuardedStream(sys.stdout, ends=ends, is_ours=is_ours),
        GuardedStream(sys.stderr, ends=False, is_ours=is_ours),
    )
    sys.stdout, sys.stderr = cast(tuple[TextIO, TextIO], guards)
    try:
        yield
    finally:
        if sys.stdout is guards[0]:  # a program's other threads may have put theirs there
            sys.stdout = replaced[0]
        if sys.stderr is guards[1]:
            sys.stderr = replaced[1]
        for guard in guards:
            guard.leave()


def loss_of(stream: object) -> OSError | None:
    """Return why a stream takes no more text; None while it takes some, or nobody watches it."""
    return stream.lost if isinstance(stream, GuardedStream) else None
