"""Requests to stop: signal handlers that set a flag, and in a wait raise Interrupted.

Training, evaluation and preparation ask `requested()` where their state is consistent, save, and
exit with `exit_code`. The signals are those of `starting.ENDING`: Ctrl-C, SIGTERM of schedulers and
`kill`, SIGHUP of a connection that is gone, SIGUSR1 from SLURM before a time limit.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from cnnlab.errors import Interrupted
from cnnlab.starting import ENDING, KEYBOARD

SHOW_CURSOR = b"\x1b[?25h\x1b[0m\r\n"
_requested: int | None = None
_is_watching = _raises = _is_in_a_host = False

OF_A_HOST = frozenset(int(getattr(signal, n)) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n))
"""Signals beside Ctrl-C that a call from Python hears, where the program has no handler."""


def requested() -> int | None:
    """Return the number of the first signal that asked to stop, or None."""
    return _requested


def exit_code(signal_number: int) -> int:
    """Return the exit code of a request: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return ENDING[signal_number]


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Turn signals into the flag of `requested` inside the block; restore the handlers after it.

    Inside another block, or outside the main thread, nothing changes. A signal that is ignored
    stays ignored (nohup, a job in the background). Ctrl-C or Ctrl-\\ while a request is pending
    ends the process at once, after it has restored the terminal; in a host program Ctrl-C then
    raises KeyboardInterrupt at once.
    """
    global _requested, _is_watching
    if _is_watching or threading.current_thread() is not threading.main_thread():
        yield
        return

    _requested, _is_watching = None, True
    previous = {number: signal.signal(number, _note) for number in ENDING if _is_heard(number)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _requested, _is_watching = None, False


@contextlib.contextmanager
def in_a_host() -> Iterator[None]:
    """Let `watching` in the block respect a program that is not ours, its handlers and its life."""
    global _is_in_a_host
    before, _is_in_a_host = _is_in_a_host, True
    try:
        yield
    finally:
        _is_in_a_host = before


def _is_heard(number: int) -> bool:
    handler = signal.getsignal(number)
    if not _is_in_a_host:
        return handler != signal.SIG_IGN
    if number == signal.SIGINT:  # asyncio's handler waits for a loop that the call holds up
        return handler not in (signal.SIG_IGN, None)  # None: not Python's, and so not restorable
    return number in OF_A_HOST and handler == signal.SIG_DFL


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Let a request to stop raise Interrupted at once inside the block: nothing is to be saved yet.

    For waits, and for reading what a command begins with. In a job of several processes a request
    is still answered where all of them ask.
    """
    global _raises
    is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
    is_main = threading.current_thread() is threading.main_thread()
    before, _raises = _raises, is_alone and is_main
    try:
        if _raises and _requested is not None:
            raise Interrupted(exit_code(_requested))
        yield
    finally:
        _raises = before


def _note(signal_number: int, _frame: FrameType | None) -> None:
    global _requested
    if _requested is None:
        _requested = signal_number
        if _raises:
            raise Interrupted(exit_code(signal_number))
    elif _is_in_a_host:
        raise KeyboardInterrupt
    elif signal_number in KEYBOARD:
        leave_at_once(exit_code(signal_number))


def leave_at_once(code: int) -> None:
    """End the process without any clean-up but a visible cursor."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.isatty(descriptor):
                os.write(descriptor, SHOW_CURSOR)
                break
    os._exit(code)
