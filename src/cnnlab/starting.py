"""Signal handlers for the start of a command: it exits at once, quietly, with the right exit code.

Python's own handlers give TERM no exit code, and Ctrl-C a traceback of whatever is being imported,
or the death by a signal after code made by exec(). Imported first of all, so only with modules
that Python has loaded already.
"""

import _signal  # the built-in part of `signal`, which itself takes milliseconds
import os
import sys

INTERRUPTED, TERMINATED = 130, 143
_NAMES = ("cnnlab", "cnnlab.exe")


def is_command() -> bool:
    """Return whether Python was started as `cnnlab`, `python -m cnnlab` or one of our scripts.

    One of our scripts has a variable IS_CNNLAB_COMMAND. Any other program that imports cnnlab
    keeps its own handlers.
    """
    if getattr(sys.modules.get("__main__"), "IS_CNNLAB_COMMAND", False):
        return True
    started = sys.orig_argv[-len(sys.argv) :][:1]  # the script's path, or the module after -m
    if sys.argv[:1] == ["-m"]:  # while Python looks for the module
        return started in (["cnnlab"], ["-mcnnlab"])
    return started == sys.argv[:1] != [] and os.path.basename(started[0]) in _NAMES


def exit_on_signals() -> None:
    """Let Ctrl-C end this process with 130, TERM and USR1 with 143, while there is nothing to save.

    For the main thread of a process of cnnlab. A signal that the shell ignores stays ignored.
    """
    user1 = [_signal.SIGUSR1] if hasattr(_signal, "SIGUSR1") else []
    for number in (_signal.SIGINT, _signal.SIGTERM, *user1):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, leave)


def exits_on_interrupt() -> bool:
    """Return whether Ctrl-C ends this process at once."""
    return _signal.getsignal(_signal.SIGINT) is leave


def leave(number: int, _frame: object) -> None:
    """End the process; of the processes of one job the first prints a message."""
    if number != _signal.SIGINT:
        os._exit(TERMINATED)
    try:
        if os.environ.get("RANK", "0") == "0":
            os.write(2, b"cnnlab: interrupted\n")
    finally:  # also with a closed stderr
        os._exit(INTERRUPTED)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, where it ended the process so far."""
    if exits_on_interrupt():
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
