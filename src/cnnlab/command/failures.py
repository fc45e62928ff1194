"""Error messages of a failed command: up to three lines; the traceback goes to the run's log."""

import contextlib
import errno
import os
import time
import traceback
from pathlib import Path
from typing import Any

from cnnlab.errors import CnnlabError, Interrupted
from cnnlab.files import regular
from cnnlab.files.atomic import DISK_FAILS, NO_HANDLES, NO_SPACE, NOT_ALLOWED, more_open_files
from cnnlab.safe_output import escape_lines, say
from cnnlab.starting import INTERRUPTED

BUG = 1
WAIT_SECONDS = 2.0
MOST_SHOWN = 100
"""Characters shown of a path that is too long for any file system."""

SHOW_VARIABLE = "CNNLAB_TRACEBACK"


def report(error: BaseException, message: str | None, code: int, log: str | None) -> int:
    """Write the message on stderr and the traceback into the log, if there is one; return `code`.

    message: None where another process of the job has shown it. With CNNLAB_TRACEBACK set the
    traceback is shown too.
    """
    if log is not None:
        # a full disk may be what is being reported
        with contextlib.suppress(OSError, CnnlabError), regular.append(Path(log)) as file:
            file.write(_trace(error))

    show_trace(error)
    if message is not None:
        print_error(message)
    return code


def show_trace(error: BaseException) -> None:
    """Write the traceback on stderr where CNNLAB_TRACEBACK asks for it."""
    if os.environ.get(SHOW_VARIABLE):
        say(_trace(error))


def _trace(error: BaseException) -> str:
    return escape_lines("".join(traceback.format_exception(error)))


def print_error(message: str) -> None:
    """Write one to three lines on stderr; no control character in them reaches the terminal."""
    rank = os.environ.get("RANK", "0")
    speaker = "cnnlab" if rank == "0" else f"cnnlab (process {rank})"
    say(message, speaker)


def print_error_once(message: str) -> None:
    """Write, from the first process alone, a message that every process of a job has found.

    The others wait: the launcher ends all of them as soon as one is gone.
    """
    if os.environ.get("RANK", "0") == "0":
        print_error(message)
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


def shortage(error: BaseException, places: str) -> str | None:
    """Return what the system lacks and what to do; None for an error of another kind.

    For system errors that nothing has caught closer to their cause: they are no bug of cnnlab.
    places: the settings that say where this command writes, "" if it has none.
    """
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        hint = "decode with fewer: dataset.num_decode_threads=1; or raise the limit: ulimit -u"
        return f"the system refuses another thread\n  {hint}"
    if not isinstance(error, OSError):
        return None

    name = f"\n  {error.filename}" if error.filename else ""
    if error.errno in NO_HANDLES:
        return f"too many open files{name}\n  {more_open_files()}"
    if error.errno in NO_SPACE:
        other = f", or use another disk: {places}" if places else ""
        return f"disk full or quota{name}\n  free space{other}"
    if error.errno in DISK_FAILS:
        return f"the disk fails ({os.strerror(error.errno)}){name}\n  see what dmesg says of it"
    if error.errno in NOT_ALLOWED:
        other = f"\n  write to a folder that you own: {places}" if places else ""
        return f"not permitted ({os.strerror(error.errno)}){name}{other}"
    return None


def unusable_device(error: BaseException) -> str | None:
    """Return the message for a device that the driver refuses; None for an error of another kind.

    torch finds out at the first allocation or kernel: that a device exists says nothing of it.
    """
    first_line = (str(error).splitlines() or [""])[0]
    if any(words in first_line for words in _MISSING_ON_MPS):
        return (
            f"torch cannot do this on a Mac's GPU: {first_line[:150]}\n  runtime.device=cpu works"
        )
    if not isinstance(error, RuntimeError) or not first_line.startswith("CUDA error: "):
        return None
    reason = first_line.removeprefix("CUDA error: ")
    hint = next((hint for words, hint in _REFUSALS.items() if words in reason), None)
    return None if hint is None else f"the CUDA device cannot be used: {reason}\n  {hint}"


_MISSING_ON_MPS = ("not currently implemented for the MPS device", "Cannot convert a MPS Tensor")
"""Words of torch for an operator that it lacks, and for float64."""

_HELD = "another process may hold it: nvidia-smi lists them; runtime.device names another device"
_DRIVER = "torch and the driver do not fit each other; runtime.device=cpu works"
_REFUSALS = {
    "out of memory": _HELD,
    "busy or unavailable": _HELD,
    "driver version is insufficient": _DRIVER,
    "unsupported display driver": _DRIVER,
    "unsupported toolchain": _DRIVER,
    "no kernel image": "torch was not built for this GPU; runtime.device=cpu works",
    "no CUDA-capable device": "it is gone; runtime.device=cpu works",
    "system not yet initialized": "nvidia-smi says whether it works; runtime.device=cpu does",
    "uncorrectable ECC": "its memory is faulty: nvidia-smi -q -d ECC; runtime.device names another",
}
"""Words of the driver for what is no bug of cnnlab, and what helps. Out of memory: there was none
even for the driver's own use, while torch's allocator says so in an error of its own."""


def unusable_path(error: BaseException) -> str | None:
    """Return the message for a path that is too long; None for an error of another kind.

    The path may be on the command line, in a YAML file or in a checkpoint.
    """
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    name = str(error.filename or "")
    shown = name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}..."
    return f"the path is too long for the file system\n  {shown}"


def memory_hint(config: Any) -> str:
    """Return the message for a lack of memory, with the setting that lowers it, if there is one."""
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
