"""How a command's task is called, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a command was started; the second argument of every task.

    command: the line as typed, quoted for a shell. overrides: its key=value words. folder: the
    run folder to claim exactly (hydra.run.dir, hydra.sweep.subdir), or None. sweep, sweep_folder
    and job: the sweep that this is a job of, the folder of its runs, and the job's number.
    trainings: for a command that starts trainings (`Verb.trains`), the checked TrainConfig of each
    by its words.
    """

    command: str
    overrides: list[str] = field(default_factory=list)
    folder: str | None = None
    sweep: str | None = None
    sweep_folder: str | None = None
    job: int | None = None
    trainings: Mapping[tuple[str, ...], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a task ended. run: the run folder that it wrote, if any. reason: why it failed."""

    exit_code: int = 0
    run: str | None = None
    reason: str = ""
