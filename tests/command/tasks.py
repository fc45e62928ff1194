"""Tasks that end in every way a task can end; the command line runs them in place of `list`."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnlab import run_folder
from cnnlab.config import Launch, Outcome
from cnnlab.errors import DataError, Interrupted, NumericsError, RunError
from cnnlab.files import atomic


def remember(config: Any, launch: Launch) -> int:
    """Leave what arrived, one file per job."""
    facts = {"config": vars(config), "launch": vars(launch)}
    Path(f"arrived_{launch.job or 0}.json").write_text(json.dumps(facts, default=str))
    return 0


@contextlib.contextmanager
def owning_this_folder() -> Iterator[None]:
    """Fail as a training does whose run folder is the current one."""
    try:
        yield
    except Exception as error:
        raise RunError(".", error) from error


def lack_data(config: Any, launch: Launch) -> int:
    with owning_this_folder():
        raise DataError("no images", "data/", "get some")


def interrupted(config: Any, launch: Launch) -> int:
    raise Interrupted(143, "stopped at step 7; go on with: cnnlab train resume=here")


def bug_without_log(config: Any, launch: Launch) -> int:
    raise RuntimeError("inner workings")


def bug_with_log(config: Any, launch: Launch) -> int:
    with owning_this_folder():
        raise RuntimeError("inner workings")


def out_of_memory(config: Any, launch: Launch) -> int:
    raise MemoryError


CUDA_NOTE = "\nCUDA kernel errors might be asynchronously reported at some other API call.\n"


def device_busy(config: Any, launch: Launch) -> int:
    import torch

    what = "CUDA-capable device(s) is/are busy or unavailable"
    raise torch.AcceleratorError(f"CUDA error: {what}{CUDA_NOTE}")


def no_memory_for_a_context(config: Any, launch: Launch) -> int:
    import torch

    raise torch.AcceleratorError(f"CUDA error: out of memory{CUDA_NOTE}")


def kernel_fault(config: Any, launch: Launch) -> int:
    import torch

    what = "an illegal memory access was encountered"
    raise torch.AcceleratorError(f"CUDA error: {what}{CUDA_NOTE}")


def fail_in_job_1(config: Any, launch: Launch) -> Outcome:
    """Own a run folder of no particular name, but in job 1, which fails before it has one."""
    if launch.job == 1:
        raise NumericsError("loss is not finite")
    folder = run_folder.claim("", exact=Path(launch.sweep_folder or "") / f"any_{config.what}")
    errors = {"models": (0.25, 0.125), "datasets": (0.5, 0.375)}
    validation, test = errors[config.what]
    folder.update_status(status="done", best_validation_error=validation, test_error=test)
    folder.release()
    return Outcome(run=str(folder.path))


def disk_full(config: Any, launch: Launch) -> int:
    raise OSError(errno.ENOSPC, "No space left on device", "a.txt")


def read_only(config: Any, launch: Launch) -> int:
    raise OSError(errno.EROFS, "Read-only file system", "a.txt")


def no_thread(config: Any, launch: Launch) -> int:
    raise RuntimeError("can't start new thread")


def unwritable(config: Any, launch: Launch) -> int:
    raise atomic.unwritable(Path("a.txt"), OSError(errno.ENOSPC, "No space left on device"))


def not_permitted(config: Any, launch: Launch) -> int:
    raise atomic.unwritable(Path("a.txt"), OSError(errno.EACCES, "Permission denied"))


def remember_environment(config: Any, launch: Launch) -> int:
    """Leave the value of the variable MARK, and an exit code of its own."""
    Path("mark").write_text(os.environ["MARK"])
    return 3
