"""Requests to stop: signal handlers that set a flag, and nothing else.

Training, evaluation and preparation ask `requested()` where their state is consistent, save, and
exit with `exit_code`. SIGTERM comes from schedulers and `kill`, SIGUSR1 from SLURM before a time
limit.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SHOW_CURSOR = b"\x1b[?25h\x1b[0m\r\n"
_TERMINATIONS = [signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
_SIGNALS = [signal.SIGINT, *_TERMINATIONS]
_requested: int | None = None


def requested() -> int | None:
    """Return the number of the first signal that asked to stop, or None."""
    return _requested


def exit_code(signal_number: int) -> int:
    """Return 130 for Ctrl-C and 143 for a request to terminate; SIGUSR1 counts as one."""
    return 130 if signal_number == signal.SIGINT else 143


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Turn signals into the flag of `requested` inside the block; restore the handlers after it.

    Inside another block, or outside the main thread, nothing changes. Ctrl-C while a request is
    pending ends the process at once, after it has restored the terminal.
    """
    global _requested
    outermost = signal.getsignal(signal.SIGTERM) is not _note
    if not outermost or threading.current_thread() is not threading.main_thread():
        yield
        return

    _requested = None
    previous = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _requested = None


def leave_on_termination() -> None:
    """Let SIGTERM and SIGUSR1 end the process with 143 while there is nothing to save yet.

    For the start of a command; inside a block of `watching` its handlers are used instead.
    """
    for number in _TERMINATIONS:
        signal.signal(number, lambda *_: leave_at_once(143))


def _note(signal_number: int, _frame: FrameType | None) -> None:
    global _requested
    if _requested is None:
        _requested = signal_number
    elif signal_number == signal.SIGINT:
        leave_at_once(130)


def leave_at_once(code: int) -> None:
    """End the process without any clean-up but a visible cursor."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.isatty(descriptor):
                os.write(descriptor, SHOW_CURSOR)
                break
    os._exit(code)
