"""The start of a command: signals, descriptors and the search for modules, before any import.

Python's own handlers give TERM no exit code, and Ctrl-C a traceback of whatever is being imported,
or the death by a signal after code made by exec(). Imported first of all, so only with modules
that Python has loaded already.
"""

import _signal  # the built-in part of `signal`, which itself takes milliseconds
import os
import sys

INTERRUPTED, TERMINATED = 130, 143
_NAMES = ("cnnlab", "cnnlab.exe")

_KEYBOARD = ("SIGINT", "SIGQUIT")
_OTHERS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGPWR")

ENDING: dict[int, int] = {
    int(getattr(_signal, name)): 128 + int(getattr(_signal, name))
    for name in (*_KEYBOARD, *_OTHERS)
    if hasattr(_signal, name)
}
"""Every signal that asks to end, with the exit code that it leads to, 128 + its number.

HUP: the terminal or the connection is gone. USR1, USR2, XCPU: a scheduler's notice before the end.
PWR: the machine or the container goes down.
"""

if hasattr(_signal, "SIGUSR1"):
    ENDING[int(_signal.SIGUSR1)] = TERMINATED  # as it always was: SLURM's way to say TERM

KEYBOARD = frozenset(int(getattr(_signal, name)) for name in _KEYBOARD if hasattr(_signal, name))
"""Signals of a key, which end at once while an earlier request is being answered."""


def is_command() -> bool:
    """Return whether Python was started as `cnnlab`, `python -m cnnlab` or one of our scripts.

    One of our scripts has a variable IS_CNNLAB_COMMAND. Any other program that imports cnnlab
    keeps its own handlers.
    """
    if getattr(sys.modules.get("__main__"), "IS_CNNLAB_COMMAND", False):
        return True
    started = sys.orig_argv[-len(sys.argv) :][:1]  # the script's path, or the module after -m
    if _is_found_by_m():
        return started in (["cnnlab"], ["-mcnnlab"])
    return started == sys.argv[:1] != [] and os.path.basename(started[0]) in _NAMES


def _is_found_by_m() -> bool:
    """Return whether Python is looking for the module after -m at this moment."""
    return sys.argv[:1] == ["-m"]


def begin() -> None:
    """Prepare the process of a command; for its main thread."""
    exit_on_signals()
    _open_descriptors()
    _leave_out_current_folder()


def _open_descriptors() -> None:
    """Open the null device where standard input, output or error is closed.

    The next file of a run would get its number, and in it whatever a library prints.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def _leave_out_current_folder() -> None:
    """Search no module in the current folder, here and in every Python that this process starts.

    `python -m cnnlab` and torchrun would search it first: a `random.py` in it would be run.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    if _is_found_by_m() and not sys.flags.safe_path:
        del sys.path[0]


def exit_on_signals() -> None:
    """Let each signal of ENDING end this process at once, while there is nothing to save.

    For the main thread of a process of cnnlab. A signal that the shell ignores stays ignored.
    """
    for number in ENDING:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, leave)


def exits_on_interrupt() -> bool:
    """Return whether Ctrl-C ends this process at once."""
    return _signal.getsignal(_signal.SIGINT) is leave


def leave(number: int, _frame: object) -> None:
    """End the process; at Ctrl-C the first of the processes of one job prints a message."""
    if number != _signal.SIGINT:
        os._exit(ENDING[number])
    try:
        if os.environ.get("RANK", "0") == "0":
            os.write(2, b"cnnlab: interrupted\n")
    finally:  # also with a closed stderr
        os._exit(INTERRUPTED)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, where it ended the process so far."""
    if exits_on_interrupt():
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
