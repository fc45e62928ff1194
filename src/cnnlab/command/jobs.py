"""One job of a command: typed config in, exit code out; no exception but an interrupt leaves."""

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cnnlab.command import sweeps
from cnnlab.command.composing import parse
from cnnlab.command.verbs import VERBS, load_task
from cnnlab.config import Launch
from cnnlab.errors import CnnlabError, ResourceError

if TYPE_CHECKING:
    from cnnlab.command.line import Request

BUG = 1


def run(request: "Request", composed: Any) -> int:
    """Run the task on one composed config; complain in one to three lines where it fails.

    Raises KeyboardInterrupt, so that a sweep ends instead of going on to its next job.
    """
    launch = _launch(request)
    code = BUG
    try:
        code = _attempt(request.verb, composed, launch)
    except KeyboardInterrupt as interruption:
        code = int(getattr(interruption, "exit_code", 130))
        raise
    finally:
        if launch.sweep_folder is not None:
            sweeps.record(launch, code)
    return code


def _launch(request: "Request") -> Launch:
    hydra = HydraConfig.get()
    launch = Launch(
        command=request.command, overrides=list(hydra.overrides.task), folder=request.folder
    )
    if hydra.mode == RunMode.MULTIRUN:
        launch.folder, launch.sweep_folder = None, str(hydra.sweep.dir)
        launch.job = int(hydra.job.num)
    return launch


def _attempt(name: str, composed: Any, launch: Launch) -> int:
    try:
        config = parse(VERBS[name], composed, launch.overrides)
        return load_task(VERBS[name])(config, launch)
    except BrokenPipeError:
        raise  # whoever read our output went away
    except CnnlabError as error:
        return _failed(str(error), error.exit_code, launch)
    except Exception as error:
        if is_out_of_memory(error):
            return _failed(_memory_hint(config), ResourceError.exit_code, launch)
        return _failed(f"bug: {type(error).__name__}: {_first_line(error)}", BUG, launch)


def _failed(message: str, code: int, launch: Launch) -> int:
    """Put the traceback of the current exception where it belongs, and the message on stderr."""
    trace = traceback.format_exc()
    if launch.log is not None:
        with open(launch.log, "a", encoding="utf-8") as log:
            log.write(trace)
    if os.environ.get("CNNLAB_TRACEBACK"):
        print(trace, file=sys.stderr)
    elif code == BUG:
        seen = f"in {launch.log}" if launch.log else "shown with CNNLAB_TRACEBACK=1"
        message = f"{message}\n  traceback {seen}"
    print(f"cnnlab: {message}", file=sys.stderr, flush=True)
    return code


def is_out_of_memory(error: Exception) -> bool:
    """Say whether the machine or the device had no memory left; torch need not be loaded."""
    torch: Any = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )


def _memory_hint(config: Any) -> str:
    trainer = getattr(config, "trainer", None)
    if trainer is None:
        return "out of memory\n  lower batch_size"
    size, parts = trainer.batch_size, trainer.accumulate
    return (
        f"out of memory at trainer.batch_size={size}\n"
        f"  trainer.accumulate={2 * parts} computes the same batch in smaller parts"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
