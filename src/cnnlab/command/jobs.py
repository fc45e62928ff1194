"""One job of a command: typed config in, exit code out; no exception but an interrupt leaves."""

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from cnnlab import starting
from cnnlab.command import failures, folders, sweeps
from cnnlab.command.composing import parse
from cnnlab.command.verbs import VERBS, Task, load_task
from cnnlab.config import Launch
from cnnlab.errors import CnnlabError, ResourceError, UnwritableError, UsageError

if TYPE_CHECKING:
    from cnnlab.command.line import Request

BUG = 1


def run(request: "Request", composed: Any) -> int:
    """Run the task on one composed config; complain in one to three lines where it fails.

    Raises KeyboardInterrupt, so that a sweep ends instead of going on to its next job.
    """
    launch = _launch(request, composed)
    code = BUG
    try:
        if launch.sweep_folder is not None:
            starting.raise_on_interrupt()  # a job that has begun gets its row, however it ends
        code = _attempt(request.verb, composed, launch)
    except KeyboardInterrupt as interruption:
        code = int(getattr(interruption, "exit_code", 130))
        raise
    finally:
        if launch.sweep_folder is not None:
            sweeps.record(launch, code)
    return code


def _launch(request: "Request", composed: Any) -> Launch:
    hydra = HydraConfig.get()
    overrides = [word.removeprefix("++") for word in hydra.overrides.task]
    folder = folders.of_job(request, composed)
    launch = Launch(command=request.command, overrides=overrides, folder=folder)
    if request.is_sweep:
        launch.sweep, launch.sweep_folder = request.sweep, request.shared_folder
        launch.job = int(hydra.job.num)
    return launch


def _import_task(name: str) -> Task:
    """Import a command's task; a Ctrl-C that a library swallows on the way is raised afterwards."""
    if threading.current_thread() is not threading.main_thread():
        return load_task(VERBS[name])
    if starting.is_answering():  # a Ctrl-C ends the process: there is nothing to raise afterwards
        task = load_task(VERBS[name])
        starting.raise_on_interrupt()
        return task
    return _import_uninterrupted(name)


def _import_uninterrupted(name: str) -> Task:
    presses: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        presses.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        task = load_task(VERBS[name])
    finally:
        signal.signal(signal.SIGINT, before)
    if presses:
        raise KeyboardInterrupt
    return task


def _attempt(name: str, composed: Any, launch: Launch) -> int:
    config = None
    try:
        config = parse(VERBS[name], composed, list(HydraConfig.get().overrides.task))
        return _import_task(name)(config, launch)
    except BrokenPipeError:
        failures.silence_output()  # whoever read our output went away: no error of ours
        return 0
    except UnwritableError as error:
        message = str(error.with_places(_places(name, config, launch)))
        return failures.report(error, message, error.exit_code, launch.log)
    except CnnlabError as error:
        return failures.report(error, str(error), error.exit_code, launch.log)
    except Exception as error:
        if failures.is_interrupt(error):
            raise KeyboardInterrupt from error
        if (path := failures.unusable_path(error)) is not None:
            return failures.report(error, path, UsageError.exit_code, launch.log)
        if failures.is_out_of_memory(error):
            hint = failures.memory_hint(config)
            return failures.report(error, hint, ResourceError.exit_code, launch.log)
        if (missing := failures.shortage(error, _places(name, config, launch))) is not None:
            return failures.report(error, missing, ResourceError.exit_code, launch.log)
        return failures.report_bug(error, launch.log)


def _places(name: str, config: Any, launch: Launch) -> str:
    """Return the settings with which this very job could have been sent elsewhere."""
    resumes = getattr(config, "resume", None) is not None
    return VERBS[name].places(is_sweep=launch.sweep_folder is not None, resumes=resumes)
