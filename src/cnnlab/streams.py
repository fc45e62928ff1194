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
    is lost raises OutputLost. lost: the system's first error; None as long as there is none.
    Characters that the stream cannot encode are replaced.
    """

    def __init__(self, stream: TextIO | None, *, ends: bool) -> None:
        self.ends = ends
        self.lost: OSError | None = None
        if stream is None:
            self.lost = _closed()
            stream = io.TextIOWrapper(io.BytesIO(), "utf-8")  # nothing is ever written to it
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=DEGRADING)
        self._stream = stream

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
def guarded(*, ends: bool = True) -> Iterator[None]:
    """Guard standard output and standard error inside the block.

    ends: whether losing standard output raises OutputLost; a block in a block decides for itself.
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
    guards = GuardedStream(sys.stdout, ends=ends), GuardedStream(sys.stderr, ends=False)
    sys.stdout, sys.stderr = cast(tuple[TextIO, TextIO], guards)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = replaced
        guards[0].ends = False  # a logger may keep it
        for guard in guards:
            guard.flush()


def loss_of(stream: object) -> OSError | None:
    """Return why a stream takes no more text; None while it takes some, or nobody watches it."""
    return stream.lost if isinstance(stream, GuardedStream) else None
