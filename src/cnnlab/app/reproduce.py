"""`cnnlab reproduce`: the papers' claims as runs on this machine, beside what was published."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnlab import run_folder, runtime, session
from cnnlab.config import Launch, ReproduceConfig
from cnnlab.console import Console
from cnnlab.cpu.processors import budget
from cnnlab.errors import MemberError
from cnnlab.files import atomic
from cnnlab.plain_json import json_text
from cnnlab.reports import page as report
from cnnlab.reproduction import measure, rows
from cnnlab.reproduction.page import sections
from cnnlab.reproduction.plan import ClaimPlan, Planner, measured_runs, searches
from cnnlab.reproduction.run import RunProcesses
from cnnlab.run_folder import provenance
from cnnlab.run_folder.lock import RunLock
from cnnlab.safe_output import write_out
from cnnlab.session import Session

NAME = "reproduction"
LOG = "reproduction.log"
EVALUATIONS = "evaluations"

STALL_SECONDS = 600.0
"""As for evaluations; the command runs in one process."""


def run(config: ReproduceConfig, launch: Launch) -> int:
    """Run what the claims need, write the table, return 0, or the code of a run that failed."""
    folder = Path(config.output)
    is_text = config.format == "text"
    with (
        session.shared(config.runtime, STALL_SECONDS) as here,
        _held(folder),
        contextlib.closing(Console(on_stderr=not is_text)) as console,
    ):
        console.log_to(folder / LOG)
        planner = Planner(config, launch.trainings, 1 if here.device.type == "cpu" else None)
        plans = [planner.plan(name, claim) for name, claim in config.read().items()]
        failed = _train(config, planner, plans, console, here, launch.command)
        found = [_row(planner, plan, failed, here) for plan in plans]

    document = _document(config, found, here, launch.command)
    atomic.write_bytes(folder / f"{NAME}.json", (json_text(document) + "\n").encode())
    page = report.write(folder / f"{NAME}.html", "The claims, measured here", sections(document))
    if is_text:
        rows.show(Console(progress=False), found, config.scale)
        Console(progress=False).line(f"page: {page}")
    else:
        write_out(json_text(document))
    return next((error.exit_code for error in failed.values()), 0)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the output folder against a second `cnnlab reproduce`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.unwritable(folder, error) from error
    lock = RunLock(folder)
    try:
        yield
    finally:
        lock.release()


def _train(
    config: ReproduceConfig,
    planner: Planner,
    plans: list[ClaimPlan],
    console: Console,
    here: Session,
    again: str,
) -> dict[Path, MemberError]:
    """Train what is not done: first what chooses settings, then what is measured.

    Returns the runs that failed.
    """
    at_once = config.at_once or (budget().cores if here.device.type == "cpu" else 1)
    first = searches(plans)
    training = RunProcesses([*first, *measured_runs(planner, plans)], at_once, console, again)
    if first:
        console.line("searches of settings, by validation error")
        training.train(first)

    # which runs these are is known only when the searches have ended
    runs = measured_runs(planner, plans)
    training.planned = [*first, *runs]
    training.train(runs)
    return training.failed


def _row(
    planner: Planner, plan: ClaimPlan, failed: dict[Path, MemberError], here: Session
) -> dict[str, Any]:
    """Return the row of a claim: measured, computed, or why neither."""
    if plan.missing:
        return rows.unmeasured(plan, plan.missing)
    if plan.claim.is_computed:
        return rows.computed(plan)

    runs = [planner.runs_of(plan, arm) for arm in plan.arms]
    tried = [candidate.run for arm in plan.arms for candidate in arm.candidates]
    for run_of_arm in [*tried, *(one for arm in runs for one in arm)]:
        if run_of_arm.path in failed:
            return rows.unmeasured(plan, f"a run failed: {failed[run_of_arm.path].what}")

    evaluations = Path(planner.config.output) / EVALUATIONS
    arms = [measure.Arm(of_arm, evaluations, here, plan.claim.target) for of_arm in runs]
    return rows.measured(plan, arms)


def _document(
    config: ReproduceConfig, found: list[dict[str, Any]], here: Session, command: str
) -> dict[str, Any]:
    """Return reproduction.json: the claims, and the machine and versions they were measured with."""
    return {
        "command": command,
        "scale": config.scale,
        "note": rows.note(config.scale),
        "time": run_folder.now(),
        "device": runtime.describe_device(here.device),
        **provenance.describe(),
        "claims": found,
    }
