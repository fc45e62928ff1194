"""Results of a sweep: one line per job in jobs.jsonl, then a table and results.csv.

Each job itself records its run folder and its result, so that a sweep folder that is used twice
never shows an earlier result. The jobs may run in other processes (Hydra's joblib and submitit
launchers), so results are passed through the sweep folder and not through memory.
"""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from cnnlab.config import Launch, Outcome
from cnnlab.console import Console
from cnnlab.errors import CheckpointError, UnwritableError
from cnnlab.files import atomic, regular
from cnnlab.percentages import percent
from cnnlab.run_folder import RunFolder
from cnnlab.safe_output import csv_cell

MOST_JOBS_BYTES = 256 << 20
JOBS, RESULTS = "jobs.jsonl", "results.csv"

PLACE = "hydra.sweep.dir=X"
"""The setting that says where both files are."""


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


def close(sweep: str, sweep_folder: str) -> list[int]:
    """Write results.csv and print the table of the jobs of a sweep; return their exit codes.

    The table goes to stderr, so that stdout stays the jobs' own.
    """
    folder = Path(sweep_folder)
    jobs = _jobs_of(sweep, folder / JOBS)
    if jobs:
        _write_csv(folder / RESULTS, jobs)
        console = Console(progress=False, stream=sys.stderr)
        columns = ("job", "overrides", "validation", "test", "status")
        console.table(columns, [_cells(job) for job in jobs], num_names=2)
        console.line(f"sweep: {folder}")
    return [job["exit_code"] for job in jobs]


def _jobs_of(sweep: str, path: Path) -> list[dict[str, Any]]:
    """Return the jobs of one sweep in order; the file may hold earlier sweeps too."""
    jobs = [_job_of(line) for line in regular.lines(path, MOST_JOBS_BYTES)]
    own = [job for job in jobs if job.get("sweep") == sweep]
    return sorted(own, key=lambda job: job["job"])


def _job_of(line: bytes) -> dict[str, Any]:
    """Return the job of a line, {} for a line that no job of ours has written."""
    try:
        job = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return job if isinstance(job, dict) else {}


def _write_csv(path: Path, jobs: list[dict[str, Any]]) -> None:
    columns = [name for name in jobs[0] if name != "sweep"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for job in jobs:
        row = job | {"overrides": " ".join(job["overrides"])}
        writer.writerow([csv_cell(row[name]) for name in columns])
    try:
        atomic.write_bytes(path, text.getvalue().encode())
    except UnwritableError as error:
        raise error.with_places(PLACE) from error


def _cells(job: dict[str, Any]) -> list[str]:
    status = job["status"] if job["exit_code"] == 0 else f"failed ({job['exit_code']})"
    errors = [job[f"{images}_error"] for images in ("validation", "test")]
    shown = ["-" if error is None else percent(error) for error in errors]
    return [str(job["job"]), " ".join(job["overrides"]), *shown, status]
