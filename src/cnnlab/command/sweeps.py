"""What a sweep leaves: a line a job as it ends, and a table with the first non-zero code at last.

The jobs may run in other processes (Hydra's joblib and submitit launchers), so their codes travel
through the sweep folder and not through memory.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

from cnnlab.config import Launch

JOBS = "jobs.jsonl"
exit_codes: list[int] = []
"""Of the jobs of the last sweep, in their order; read by the command line."""


def record(launch: Launch, code: int) -> None:
    """Append one finished job to the sweep folder."""
    assert launch.sweep_folder is not None
    facts = {"job": launch.job, "exit_code": code, "overrides": launch.overrides}
    line = json.dumps(facts, allow_nan=False)
    path = Path(launch.sweep_folder) / JOBS
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as log:
        log.write(line + "\n")


class SweepTable(Callback):
    """Hydra's callback: collect the jobs of a sweep, write results.csv, print the table."""

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Print the closing table on stderr, so that stdout stays the tasks' own."""
        folder = Path(config.hydra.sweep.dir)
        rows = [_with_run(folder, job) for job in _jobs(folder)]
        exit_codes[:] = [row["exit_code"] for row in rows]
        _write_csv(folder / "results.csv", rows)
        print(_table(folder, rows), file=sys.stderr, flush=True)


def _jobs(folder: Path) -> list[dict[str, Any]]:
    path = folder / JOBS
    if not path.is_file():
        return []
    jobs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(jobs, key=lambda job: job["job"])


def _with_run(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Add what the job's run folder says; a job that failed early has none."""
    found = sorted(folder.glob(f"{job['job']}_*/run.json"))
    run = json.loads(found[0].read_text(encoding="utf-8")) if found else {}
    return {
        "job": job["job"],
        "overrides": " ".join(job["overrides"]),
        "status": run.get("status", "failed" if job["exit_code"] else "done"),
        "exit_code": job["exit_code"],
        "validation_error": run.get("best_validation_error"),
        "test_error": run.get("test_error"),
        "run": found[0].parent.name if found else "",
    }


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if rows:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _table(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Format one line a job, errors in percent."""
    width = max([len(row["overrides"]) for row in rows] + [9])
    lines = [f"{'job':>3}  {'overrides':<{width}}  {'validation':>10}  {'test':>8}  status"]
    for row in rows:
        status = row["status"] if row["exit_code"] == 0 else f"failed ({row['exit_code']})"
        lines.append(
            f"{row['job']:>3}  {row['overrides']:<{width}}  "
            f"{_percent(row['validation_error']):>10}  {_percent(row['test_error']):>8}  {status}"
        )
    return "\n".join([*lines, f"sweep: {folder}"])


def _percent(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:.2f} %"
