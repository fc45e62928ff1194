"""What libjpeg says about a damaged file, heard by the thread that decodes it.

libjpeg reports lost data as a line on C's `stderr` and goes on with grey; torchvision hands neither
the line nor the count of warnings out. So while images are decoded, C's `stderr` (the stream, not
file descriptor 2: Python's own output is not touched) is one of ours, whose writer knows the thread
that writes. What other threads write meanwhile is passed on to descriptor 2.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

_UNBUFFERED, _LOCKED_BY_CALLER = 2, 2
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _StreamFunctions(ctypes.Structure):
    """cookie_io_functions_t of glibc."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


class Listener:
    """Stands in for C's `stderr` as long as any thread decodes."""

    def __init__(self, libc: Any) -> None:
        self._stderr = ctypes.c_void_p.in_dll(libc, "stderr")
        self._own = self._stderr.value
        self._write = _Write(self._written)  # kept: C calls it
        libc.fopencookie.restype = ctypes.c_void_p
        libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _StreamFunctions]
        functions = _StreamFunctions(None, self._write, None, None)
        stream = ctypes.c_void_p(libc.fopencookie(None, b"w", functions))
        libc.setvbuf(stream, None, _UNBUFFERED, ctypes.c_size_t(0))
        # the stream's own lock could wait for Python's, and Python's for it
        set_locking = getattr(libc, "__fsetlocking")  # as an attribute a class renames it
        set_locking(stream, _LOCKED_BY_CALLER)
        self._stream = stream.value
        self._lock, self._num_open = threading.Lock(), 0
        self._heard = threading.local()

    @contextlib.contextmanager
    def hearing(self) -> Iterator[list[str]]:
        """Collect what this thread's C code writes to `stderr` in the block."""
        lines: list[str] = []
        self._heard.lines = lines
        self._open(1)
        try:
            yield lines
        finally:
            self._open(-1)
            self._heard.lines = None

    def _open(self, change: int) -> None:
        with self._lock:
            self._num_open += change
            self._stderr.value = self._stream if self._num_open else self._own

    def _written(self, cookie: int, start: int, num_bytes: int) -> int:
        text = ctypes.string_at(start, num_bytes)
        lines = getattr(self._heard, "lines", None)
        if lines is None:
            os.write(2, text)
        else:
            lines.append(text.decode("ascii", "replace").strip())
        return num_bytes


@cache
def listener() -> Listener | None:
    """Return the one listener, or None where C's library is not glibc."""
    try:
        return Listener(ctypes.CDLL(None))
    except (AttributeError, ValueError, OSError):
        return None


@contextlib.contextmanager
def hearing() -> Iterator[list[str]]:
    """Collect this thread's messages where that is possible; elsewhere the list stays empty."""
    found = listener()
    if found is None:
        yield []
        return
    with found.hearing() as lines:
        yield lines
