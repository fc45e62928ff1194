"""`cnnlab reproduce`: the papers' claims as runs on this machine, beside what was published."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnlab import run_folder, runtime, session
from cnnlab.config import Launch, ReproduceConfig
from cnnlab.console import Console
from cnnlab.cpu.processors import budget
from cnnlab.errors import BusyError, Interrupted, MemberError, NumericsError
from cnnlab.files import atomic, regular
from cnnlab.plain_json import json_text
from cnnlab.reports import claims_page
from cnnlab.reproduction import measure, rows, table
from cnnlab.reproduction.page import page_of
from cnnlab.reproduction.plan import ClaimPlan, Planner, measured_runs, searches
from cnnlab.reproduction.run import RunProcesses, stopped
from cnnlab.run_folder import provenance
from cnnlab.run_folder.lock import RunLock
from cnnlab.safe_output import write_out
from cnnlab.session import Session

PAGE = "reproduction.html"
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
        console.line(f"{len(config.names)} of the claims; {rows.note(config.scale)}")
        earlier = table.earlier_rows(folder, lambda held: claims_page.render(page_of(held)))
        planner = Planner(config, launch.trainings, 1 if here.device.type == "cpu" else None)
        plans = [planner.plan(name, claim) for name, claim in config.found.items()]

        failed = _train(planner, plans, console, here, launch.command)
        console.line("measuring the finished runs")
        found = _rows(planner, plans, failed, here, launch.command)
        document = _document(config, found, earlier, here, launch.command)
        page = _write(document, folder)

    if is_text:
        shown = Console(progress=False)
        rows.show(shown, found, config.scale)
        shown.line(f"page: {page}{_with_earlier(len(document['claims']) - len(found))}")
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
    try:
        lock = RunLock(folder)
    except BusyError as error:
        raise BusyError(
            error.what.replace("run folder", "output folder"),
            error.where,
            "wait until it ends, or choose another one: output=FOLDER",
        ) from error

    try:
        regular.check_folder(folder / EVALUATIONS)  # the folder may be a stranger's
        yield
    finally:
        lock.release()


def _train(
    planner: Planner, plans: list[ClaimPlan], console: Console, here: Session, again: str
) -> dict[Path, MemberError]:
    """Train what is not done: first what chooses settings, then what is measured.

    Returns the runs that failed.
    """
    at_once = planner.config.at_once or (budget().cores if here.device.type == "cpu" else 1)
    first = searches(plans)
    training = RunProcesses([*first, *measured_runs(planner, plans)], at_once, console, again)
    if first:
        console.line("searches of settings, each value in a run with a seed of its own")
        training.train(first)
        training.failed = {  # a rate that diverges is the worst of the candidates
            path: error
            for path, error in training.failed.items()
            if error.exit_code != NumericsError.exit_code
        }

    # which runs these are is known only when the searches have ended
    runs = measured_runs(planner, plans)
    training.planned = [*first, *runs]
    training.train(runs)
    return training.failed


def _rows(
    planner: Planner,
    plans: list[ClaimPlan],
    failed: dict[Path, MemberError],
    here: Session,
    again: str,
) -> list[dict[str, Any]]:
    """Return the row of every claim. Raises Interrupted with the command that continues."""
    try:
        return [_row(planner, plan, failed, here) for plan in plans]
    except Interrupted as stop:
        raise Interrupted(stop.exit_code, stopped(again)) from stop


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
    paths = [one.path for one in [*tried, *(one for arm in runs for one in arm)]]
    if broken := [failed[path] for path in paths if path in failed]:
        return rows.unmeasured(plan, f"a run failed: {broken[0].what}")

    evaluations = Path(planner.config.output) / EVALUATIONS
    needed = (evaluations, here, plan.claim.target, plan.other_set)
    arms = [measure.Arm(of_arm, *needed) for of_arm in runs]
    return rows.measured(plan, arms)


def _document(
    config: ReproduceConfig,
    found: list[dict[str, Any]],
    earlier: list[dict[str, Any]],
    here: Session,
    command: str,
) -> dict[str, Any]:
    """Return reproduction.json: the claims of this call and of earlier ones in this folder."""
    facts = {
        "command": command,
        "scale": config.scale,
        "note": rows.note(config.scale),
        "time": run_folder.now(),
        "device": runtime.describe_device(here.device),
        **provenance.describe(),
    }
    return {**facts, "claims": table.merged(earlier, found, facts)}


def _with_earlier(number: int) -> str:
    rows_are = "row" if number == 1 else "rows"
    return f", with {number} {rows_are} of earlier calls in this folder" if number else ""


def _write(document: dict[str, Any], folder: Path) -> Path:
    """Write the document and its page; return the page's path."""
    atomic.write_bytes(folder / table.NAME, (json_text(document) + "\n").encode())
    return claims_page.write(folder / PAGE, page_of(document))
