"""What a command that fails shows: up to three lines; the traceback goes to the run's log."""

import contextlib
import errno
import os
import resource
import sys
import time
import traceback
from typing import Any

from cnnlab.errors import Interrupted
from cnnlab.files.atomic import NO_HANDLES, NO_SPACE, NOT_ALLOWED
from cnnlab.printable import printable_lines, say
from cnnlab.starting import INTERRUPTED

BUG = 1
WAIT_SECONDS = 2.0
MOST_SHOWN = 100
"""Characters of a path that no file can have."""

SHOW_VARIABLE = "CNNLAB_TRACEBACK"


def report(error: BaseException, message: str | None, code: int, log: str | None) -> int:
    """Write the message on stderr and the traceback into the log, if there is one; return `code`.

    message: None where another process of the job has shown it. With CNNLAB_TRACEBACK set the
    traceback is shown too.
    """
    trace = printable_lines("".join(traceback.format_exception(error)))
    if log is not None:
        # a full disk may be what is being reported
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as file:
            file.write(trace)

    if os.environ.get(SHOW_VARIABLE):
        say(trace)
    if message is not None:
        complain(message)
    return code


def complain(message: str) -> None:
    """Write one to three lines on stderr; no control character in them reaches the terminal."""
    rank = os.environ.get("RANK", "0")
    speaker = "cnnlab" if rank == "0" else f"cnnlab (process {rank})"
    say(message, speaker)


def complain_once(message: str) -> None:
    """Write what all processes of a job have found alike: the first speaks, the others wait.

    The launcher ends all of them as soon as one is gone.
    """
    if os.environ.get("RANK", "0") == "0":
        complain(message)
    else:
        time.sleep(WAIT_SECONDS)


def describe_bug(error: BaseException, log: str | None) -> str:
    """Return the message of an error that is cnnlab's fault: what it is, where its traceback is."""
    first_line = (str(error).splitlines() or [""])[0][:200]
    seen = f"in {log}" if log else f"shown with {SHOW_VARIABLE}=1"
    return f"bug: {type(error).__name__}: {first_line}\n  traceback {seen}"


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether a Ctrl-C is the cause of an exception: libraries wrap it while imported."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def code_of(interruption: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupt: 130, or what a task that has saved its state says."""
    return interruption.exit_code if isinstance(interruption, Interrupted) else INTERRUPTED


def is_out_of_memory(error: Exception) -> bool:
    """Say whether the machine or the device had no memory left; torch need not be loaded."""
    torch: Any = sys.modules.get("torch")
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if torch is None or not isinstance(error, RuntimeError):
        return False
    on_host = "DefaultCPUAllocator" in str(error)  # torch has no class of its own for it
    return on_host or isinstance(error, torch.OutOfMemoryError)


def shortage(error: BaseException, places: str) -> str | None:
    """Name what the system ran out of, and what to do; None if that is not what happened.

    For what no place nearer to it has turned into a message of its own: it is no bug of ours.
    places: the settings with which this command chooses where it writes, "" if it has none.
    """
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        hint = "decode with fewer: dataset.num_decode_threads=1; or raise the limit: ulimit -u"
        return f"the system gives no further thread\n  {hint}"
    if not isinstance(error, OSError):
        return None
    name = f"\n  {error.filename}" if error.filename else ""
    if error.errno in NO_HANDLES:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files: this process may have {limit}{name}\n  ulimit -n 4096"
    if error.errno in NO_SPACE:
        other = f", or use another disk: {places}" if places else ""
        return f"disk full or quota{name}\n  free space{other}"
    if error.errno in NOT_ALLOWED:
        other = f"\n  use a place of your own: {places}" if places else ""
        return f"not permitted ({os.strerror(error.errno)}){name}{other}"
    return None


def unusable_path(error: BaseException) -> str | None:
    """Say that a name is longer than any file may have; None if that is not what happened.

    Wherever it is first looked at: on the command line, in a YAML file, in a checkpoint.
    """
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    name = str(error.filename or "")
    shown = name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}..."
    return f"the path is too long for the file system\n  {shown}"


def memory_hint(config: Any) -> str:
    """Name the setting that lowers the memory of this command, where it has one."""
    trainer = getattr(config, "trainer", None)
    if trainer is not None:
        found = f"out of memory at trainer.batch_size={trainer.batch_size}"
        parts = 2 * trainer.accumulate
        if parts > trainer.batch_size:
            return f"{found}\n  smaller images or a smaller model need less"
        return f"{found}\n  trainer.accumulate={parts} computes the same batch in smaller parts"
    batch_size = getattr(config, "batch_size", None)
    if batch_size is None:
        return "out of memory"
    smaller = f"\n  batch_size={batch_size // 2} needs less" if batch_size > 1 else ""
    return f"out of memory at batch_size={batch_size}{smaller}"


def silence_output() -> None:
    """Send what is still to be written on stdout nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
