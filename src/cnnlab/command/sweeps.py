"""Results of a sweep: one line per job in jobs.jsonl, then a table, results.csv and groups.csv.

results.csv has a row per job; groups.csv and the table put jobs together that differ in their seed
alone. Each job itself records its run folder and its result, so that a sweep folder that is used
twice never shows an earlier result. The jobs may run in other processes (Hydra's joblib and
submitit launchers), so results are passed through the sweep folder and not through memory.
"""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from cnnlab import repetitions
from cnnlab.config import Launch, Outcome
from cnnlab.console import Console
from cnnlab.errors import CheckpointError, UnwritableError
from cnnlab.files import atomic, regular
from cnnlab.repetitions import Group, Run
from cnnlab.run_folder import RunFolder
from cnnlab.safe_output import command_line, csv_cell

MOST_JOBS_BYTES = 256 << 20
JOBS, RESULTS, GROUPS = "jobs.jsonl", "results.csv", "groups.csv"

SEED = "seed="

PLACE = "hydra.sweep.dir=X"
"""The setting that says where the files are."""


def record(launch: Launch, outcome: Outcome) -> None:
    """Append one finished job, with the figures of its run folder, to jobs.jsonl.

    Raises ResourceError where that cannot be written.
    """
    assert launch.sweep_folder is not None
    run = {} if outcome.run is None else RunFolder(outcome.run).status()
    facts = {
        "sweep": launch.sweep,
        "job": launch.job,
        "overrides": launch.overrides,
        "status": run.get("status", "failed" if outcome.exit_code else "done"),
        "exit_code": outcome.exit_code,
        "validation_error": run.get("best_validation_error"),
        "test_error": run.get("test_error"),
        "run": outcome.run,
        "reason": outcome.reason or None,
    }

    path = Path(launch.sweep_folder) / JOBS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with regular.append(path) as log:
            log.write(json.dumps(facts, allow_nan=False) + "\n")
    except OSError as error:
        raise atomic.unwritable(path, error).with_places(PLACE) from error
    except CheckpointError as error:  # a link, a pipe or a folder in its place
        unusable = UnwritableError(error.what, error.where, elsewhere="use another folder")
        raise unusable.with_places(PLACE) from error


def close(sweep: str, sweep_folder: str) -> list[dict[str, Any]]:
    """Write the tables of a sweep, print one, and return its jobs.

    It goes to stderr, so that stdout stays the jobs' own.
    """
    folder = Path(sweep_folder)
    jobs = jobs_of(sweep, folder)
    if not jobs:
        return jobs
    groups = repetitions.grouped([_as_run(job) for job in jobs])
    _write(folder / RESULTS, _csv_of(jobs))
    _write(folder / GROUPS, repetitions.csv_text(groups))

    console = Console(progress=False, stream=sys.stderr)
    columns, rows = repetitions.table(groups, "job")
    console.table(columns, rows, num_names=2)
    for line in [*repetitions.remarks(groups, "job"), f"sweep: {folder}"]:
        console.line(line)
    for line in _next(groups, jobs, folder):
        console.line(line)
    return jobs


def jobs_of(sweep: str, folder: Path) -> list[dict[str, Any]]:
    """Return the jobs of one sweep in order; the folder may hold earlier sweeps too."""
    jobs = [_job_of(line) for line in regular.lines(folder / JOBS, MOST_JOBS_BYTES)]
    own = [job for job in jobs if job.get("sweep") == sweep]
    return sorted(own, key=lambda job: job["job"])


def _job_of(line: bytes) -> dict[str, Any]:
    """Return the job of a line, {} for a line that no job of ours has written."""
    try:
        job = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return job if isinstance(job, dict) else {}


def _as_run(job: dict[str, Any]) -> Run:
    """Return what the table says of a job."""
    seeds = [word for word in job["overrides"] if word.startswith(SEED)]
    has_failed = job["exit_code"] != 0
    return Run(
        name=str(job["job"]),
        settings=tuple(word for word in job["overrides"] if not word.startswith(SEED)),
        seed=seeds[-1].removeprefix(SEED) if seeds else None,
        validation_error=job["validation_error"],
        test_error=job["test_error"],
        status=f"failed ({job['exit_code']})" if has_failed else job["status"],
        reason=(job["reason"] or "") if has_failed else "",
    )


def _csv_of(jobs: list[dict[str, Any]]) -> str:
    columns = [name for name in jobs[0] if name != "sweep"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for job in jobs:
        row = job | {"overrides": " ".join(job["overrides"])}
        writer.writerow([csv_cell(row[name]) for name in columns])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        atomic.write_bytes(path, text.encode())
    except UnwritableError as error:
        raise error.with_places(PLACE) from error


def _next(groups: list[Group], jobs: list[dict[str, Any]], folder: Path) -> list[str]:
    """Return commands to try next, each of which works as printed; none where no run is done."""
    runs = {str(job["job"]): job["run"] for job in jobs if job["run"] and job["exit_code"] == 0}
    best = groups[0].runs[0]
    if best.name not in runs:
        return []

    plugins = [word for word in best.settings if word.startswith("plugins=")]
    commands = [command_line("cnnlab", "evaluate", f"checkpoint={runs[best.name]}", *plugins)]
    if len(set(runs.values())) > 1:
        commands.append(command_line("cnnlab", "compare", f"runs={folder}"))
    if any((Path(run) / "tensorboard").is_dir() for run in runs.values()):
        commands.append(command_line("tensorboard", "--logdir", str(folder)))
    return ["try next:", *(f"  {command}" for command in commands)]
