"""One job of a command: typed config in, exit code out; no exception but an interrupt leaves."""

import signal
import threading
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig

from cnnlab import starting
from cnnlab.command import failures, folders, sweeps
from cnnlab.command.composing import parse
from cnnlab.command.verbs import VERBS, Task, Verb, load_task
from cnnlab.config import Launch, Outcome
from cnnlab.errors import (
    CnnlabError,
    ResourceError,
    RunError,
    ShownError,
    UnwritableError,
    UsageError,
)
from cnnlab.run_folder import RunFolder

if TYPE_CHECKING:
    from cnnlab.command.line import Request


def run(request: "Request", composed: Any) -> int:
    """Run the task on one composed config; complain in one to three lines where it fails.

    Raises KeyboardInterrupt, so that a sweep ends instead of starting its next job.
    """
    launch = _launch(request, composed)
    outcome, interruption = Outcome(failures.BUG), None
    try:
        if launch.sweep_folder is not None:
            starting.raise_on_interrupt()  # a job that has begun gets its row, however it ends
        outcome, interruption = _attempt(request.verb, composed, launch)
    finally:
        if launch.sweep_folder is not None:
            sweeps.record(launch, outcome)

    if interruption is not None:
        raise interruption
    return outcome.exit_code


def _launch(request: "Request", composed: Any) -> Launch:
    hydra = HydraConfig.get()
    return Launch(
        command=request.command,
        overrides=[word.removeprefix("++") for word in hydra.overrides.task],
        folder=folders.of_job(request, composed),
        sweep=request.sweep if request.is_sweep else None,
        sweep_folder=request.shared_folder if request.is_sweep else None,
        job=int(hydra.job.num) if request.is_sweep else None,
    )


def _attempt(name: str, composed: Any, launch: Launch) -> tuple[Outcome, KeyboardInterrupt | None]:
    """Parse the config and do the work; return how it ended, and the interrupt that ended it."""
    config, run = None, None
    try:
        config = parse(VERBS[name], composed, list(HydraConfig.get().overrides.task))
        done = _import_task(name)(config, launch)
        return (done if isinstance(done, Outcome) else Outcome(done)), None
    except RunError as failure:
        run, error = failure.run, failure.error
    except (Exception, KeyboardInterrupt) as raised:
        error = raised

    if (interruption := _interruption_of(error)) is not None:
        return Outcome(failures.code_of(interruption), run), interruption
    assert isinstance(error, Exception)
    return Outcome(_report(error, run, _Job(VERBS[name], config, launch)), run), None


def _interruption_of(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interrupt that an error is, or hides: libraries wrap it while imported."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, CnnlabError | ShownError) or not failures.is_interrupt(error):
        return None
    return KeyboardInterrupt()


@dataclass(frozen=True)
class _Job:
    """What a message may name. config: None where it could not be read."""

    verb: Verb
    config: Any
    launch: Launch

    @property
    def places(self) -> str:
        """Return the settings with which this very job could have been sent elsewhere."""
        resumes = getattr(self.config, "resume", None) is not None
        is_sweep = self.launch.sweep_folder is not None
        return self.verb.places(is_sweep=is_sweep, resumes=resumes)


def _report(error: Exception, run: str | None, job: _Job) -> int:
    """Show the message of an error, put its traceback into the run's log, return the exit code."""
    if isinstance(error, BrokenPipeError):
        failures.silence_output()  # whoever read our output went away: no error of ours
        return 0

    log = None if run is None else str(RunFolder(run).log_file)
    if isinstance(error, ShownError):
        return failures.report(error.error, None, error.error.exit_code, log)
    code, message = _verdict(error, job) or (failures.BUG, failures.describe_bug(error, log))
    return failures.report(error, message, code, log)


def _verdict(error: Exception, job: _Job) -> tuple[int, str] | None:
    """Return exit code and message of an error that is no bug of ours; None: it is one."""
    if isinstance(error, UnwritableError):
        return error.exit_code, str(error.with_places(job.places))
    if isinstance(error, CnnlabError):
        return error.exit_code, str(error)
    if (path := failures.unusable_path(error)) is not None:
        return UsageError.exit_code, path
    if failures.is_out_of_memory(error):
        return ResourceError.exit_code, failures.memory_hint(job.config)
    if (missing := failures.shortage(error, job.places)) is not None:
        return ResourceError.exit_code, missing
    return None


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
