"""Run the task of one job: config in, exit code out; no exception but an interrupt gets out.

An interrupt is Ctrl-C, a signal that asks to end, or an output that nobody takes any more.
"""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cnnlab import plugin_errors, starting, streams
from cnnlab.command import failures, folders, resolvers, sweeps
from cnnlab.command.composing import Job, parse
from cnnlab.command.folders import Places
from cnnlab.command.line import Request
from cnnlab.command.verbs import VERBS, Task, Verb, load_task
from cnnlab.config import Launch, Outcome
from cnnlab.errors import (
    CnnlabError,
    OutputLost,
    ResourceError,
    RunError,
    ShownError,
    UnwritableError,
    UsageError,
    is_out_of_memory,
)
from cnnlab.run_folder import RunFolder

Result = TypeVar("Result")


def run_checked(request: Request, job: Job) -> int:
    """Run the task of a single job, and report its error in one to three lines.

    Raises KeyboardInterrupt.
    """
    return _run(VERBS[request.verb], _launch_of(request, job), lambda: job.config).exit_code


def _launch_of(request: Request, job: Job) -> Launch:
    return Launch(
        command=request.command,
        overrides=_as_typed(list(job.composed.hydra.overrides.task)),
        folder=job.places.run,
        trainings=job.trainings,
    )


def perform(request: Request, job: Job, task: Callable[[Any, Launch], Result]) -> Result:
    """Run a task of a single job for a program that called it; return what the task returns.

    task: imported already. What ends it is raised: a KeyboardInterrupt with the state saved, a
    CnnlabError for all that a command reports in three lines, and a bug of ours as it is. The log
    of a run gets the traceback, as in a command.
    """
    launch = _launch_of(request, job)
    run: str | None = None
    try:
        return task(job.config, launch)
    except RunError as failure:
        run, error = failure.run, failure.error
    except (Exception, KeyboardInterrupt) as caught:
        error = caught

    if (interruption := _interruption_of(error)) is not None:
        raise interruption
    assert isinstance(error, Exception)
    if run is not None:
        failures.report(error, None, failures.BUG, str(RunFolder(run).log_file))
    raised = _for_a_program(error, _Failed(VERBS[request.verb], job.config, launch))
    if raised is error:
        raise error
    raise raised from error


def _for_a_program(error: Exception, failed: "_Failed") -> Exception:
    """Return the exception that a program gets: the error, or one of ours that explains it."""
    if isinstance(error, ShownError):
        return error.error
    if isinstance(error, CnnlabError) and not isinstance(error, UnwritableError):
        return error
    verdict = _verdict(error, failed)
    if verdict is None:
        return error

    code, message = verdict
    kind = UsageError if code == UsageError.exit_code else ResourceError
    return kind(*message.split("\n  "))


def run_composed(request: Request, places: Places, composed: DictConfig) -> Outcome:
    """Run the task of a job that hydra.main has composed; `composed` is without `hydra`.

    Raises KeyboardInterrupt, so that a sweep ends instead of starting its next job.
    """
    hydra = HydraConfig.get()
    overrides, verb = list(hydra.overrides.task), VERBS[request.verb]
    with resolvers.known():  # it may run in a process of its launcher's
        folder = folders.of_job(places, composed)
    launch = Launch(
        command=request.command,
        overrides=_as_typed(overrides),
        folder=folder,
        sweep=request.sweep if request.is_sweep else None,
        sweep_folder=places.sweep,
        job=places.first_job + int(hydra.job.num) if request.is_sweep else None,
    )
    return _run(verb, launch, lambda: parse(verb, composed, overrides))


def _as_typed(overrides: list[str]) -> list[str]:
    return [word.removeprefix("++") for word in overrides]


def _run(verb: Verb, launch: Launch, parsed: Callable[[], Any]) -> Outcome:
    """Run one job, record it where it is one of a sweep, and return how it ended."""
    outcome: Outcome = Outcome(failures.BUG)
    interruption: KeyboardInterrupt | OutputLost | None = None
    try:
        if launch.sweep_folder is not None:
            starting.raise_on_interrupt()  # a job that has begun gets its row, however it ends
        with streams.guarded(ends=not verb.makes_runs):
            outcome, interruption = _attempt(verb, launch, parsed)
    finally:
        if launch.sweep_folder is not None:
            sweeps.record(launch, outcome)

    if interruption is not None:
        raise interruption
    return outcome


def _attempt(
    verb: Verb, launch: Launch, parsed: Callable[[], Any]
) -> tuple[Outcome, KeyboardInterrupt | OutputLost | None]:
    """Run the task; return how it ended, and the interrupt or the loss that ended it."""
    config, run = None, None
    try:
        config = parsed()
        done = _import_task(verb)(config, launch)
        return (done if isinstance(done, Outcome) else Outcome(done)), None
    except RunError as failure:
        run, error = failure.run, failure.error
    except OutputLost as loss:
        return Outcome(loss.exit_code), loss
    except (Exception, KeyboardInterrupt) as raised:
        error = raised

    if (interruption := _interruption_of(error)) is not None:
        return Outcome(failures.code_of(interruption), run, "interrupted"), interruption
    assert isinstance(error, Exception)
    code, message = _report(error, run, _Failed(verb, config, launch))
    return Outcome(code, run, message.partition("\n")[0]), None


def _interruption_of(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interrupt that caused an error: libraries wrap a Ctrl-C while being imported."""
    if isinstance(error, KeyboardInterrupt):
        return error
    if isinstance(error, CnnlabError | ShownError) or not failures.is_interrupt(error):
        return None
    return KeyboardInterrupt()


@dataclass(frozen=True)
class _Failed:
    """What a message says of a failed job. config: None where it could not be parsed."""

    verb: Verb
    config: Any
    launch: Launch

    @property
    def places(self) -> str:
        """Return the settings that say where this job writes, as a message lists them."""
        resumes = getattr(self.config, "resume", None) is not None
        is_sweep = self.launch.sweep_folder is not None
        return self.verb.places(is_sweep=is_sweep, resumes=resumes)


def _report(error: Exception, run: str | None, failed: _Failed) -> tuple[int, str]:
    """Show an error's message, append its traceback to the run's log; return code and message."""
    log = None if run is None else str(RunFolder(run).log_file)
    if isinstance(error, ShownError):
        message = str(error.error)
        return failures.report(error.error, None, error.error.exit_code, log), message
    verdict = _verdict(error, failed) or _of_own_part(error, log)
    code, message = verdict or (failures.BUG, failures.describe_bug(error, log))
    return failures.report(error, message, code, log), message


def _verdict(error: Exception, failed: _Failed) -> tuple[int, str] | None:
    """Return exit code and message of an error that is no bug of ours; None: it is one."""
    if isinstance(error, UnwritableError):
        return error.exit_code, str(error.with_places(failed.places))
    if isinstance(error, CnnlabError):
        return error.exit_code, str(error)
    if (path := failures.unusable_path(error)) is not None:
        return UsageError.exit_code, path
    if (refusal := failures.unusable_device(error)) is not None:
        return ResourceError.exit_code, refusal
    if is_out_of_memory(error):
        return ResourceError.exit_code, failures.memory_hint(failed.config)
    if (missing := failures.shortage(error, failed.places)) is not None:
        return ResourceError.exit_code, missing
    return None


def _of_own_part(error: Exception, log: str | None) -> tuple[int, str] | None:
    """Return exit code and message of an error in the user's own module; None: it is in ours."""
    own = plugin_errors.as_usage(error, log)
    return None if own is None else (own.exit_code, str(own))


def _import_task(verb: Verb) -> Task:
    """Import a command's task; a Ctrl-C that a library swallows meanwhile is raised afterwards."""
    if threading.current_thread() is not threading.main_thread():
        return load_task(verb)
    if starting.exits_on_interrupt():  # Ctrl-C ends the process: nothing to raise afterwards
        task = load_task(verb)
        starting.raise_on_interrupt()
        return task
    return _import_uninterrupted(verb)


def _import_uninterrupted(verb: Verb) -> Task:
    presses: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        presses.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        task = load_task(verb)
    finally:
        signal.signal(signal.SIGINT, before)
    if presses:
        raise KeyboardInterrupt
    return task
