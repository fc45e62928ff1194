"""Run sections one after another, each in a process of its own that is killed at its deadline.

So a section that hangs, or takes Python down, loses its own time alone and keeps what it had noted.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.gpu_day.part import NO_DEVICE
from scripts.gpu_day.sections import Section

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 3.0
"""Between the kill and giving a section up."""

DONE, FAILED, OUT_OF_TIME, LEFT_OUT = "done", "failed", "out of time", "left out"


@dataclass
class Day:
    """What all sections share.

    folder: for gpu.json and logs. ends: on the clock of time.monotonic. num_gpus: as the first
    section found it.
    """

    device: str
    folder: Path
    environment: dict[str, str]
    ends: float
    num_gpus: int = 0

    def left(self) -> float:
        """Return the seconds that are left of the whole day."""
        return self.ends - time.monotonic()


def run_all(
    sections: Sequence[Section], day: Day, finished: Callable[[dict[str, Any]], object]
) -> list[dict[str, Any]]:
    """Run the sections in their order; call `finished` with the outcome of each, and return all.

    What one does not use of its share is for those after it. After a gate that fails, no more run.
    """
    outcomes: list[dict[str, Any]] = []
    for number, section in enumerate(sections):
        outcome = _outcome(section, sections[number:], day)
        outcomes.append(outcome)
        for row in outcome["rows"]:
            day.num_gpus = row.get("num_gpus", day.num_gpus)

        finished(outcome)
        if section.gate and outcome["state"] != DONE:
            break
    return outcomes


def share(coming: Sequence[Section], left: float) -> float:
    """Return the seconds that the first of the coming sections may take of those that are left."""
    part = left * coming[0].seconds / sum(section.seconds for section in coming)
    return min(left, max(part, coming[0].least))


def missing(packages: Sequence[str], path: str) -> list[str]:
    """Return which packages are neither installed nor in a folder of `path`."""
    folders = [Path(folder) for folder in path.split(os.pathsep) if folder]
    return [
        name
        for name in packages
        if not _is_installed(name) and not any((folder / name).exists() for folder in folders)
    ]


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _outcome(section: Section, coming: Sequence[Section], day: Day) -> dict[str, Any]:
    packages = missing(section.needs, day.environment.get("PYTHONPATH", ""))
    if packages:
        return _left_out(section, f"not installed: {', '.join(packages)}")
    if section.num_gpus > day.num_gpus:
        return _left_out(section, f"needs {section.num_gpus} CUDA devices")
    if day.left() < section.least:
        return _left_out(
            section, f"{max(day.left(), 0):.0f} s are left, it needs {section.least:g}"
        )
    return run(section, day, share(coming, day.left()))


def _left_out(section: Section, why: str) -> dict[str, Any]:
    return {"name": section.name, "state": LEFT_OUT, "why": why, "seconds": 0.0, "rows": []}


def run(section: Section, day: Day, seconds: float) -> dict[str, Any]:
    """Run one section for at most `seconds`; return its state, and the rows that it noted."""
    stem = section.name.replace(" ", "_")
    rows, log = day.folder / f"{stem}.rows", day.folder / f"{stem}.log"
    words = [section.work, "--device", day.device, "--folder", str(day.folder)]
    words += ["--rows", str(rows), "--seconds", f"{seconds:.3f}"]

    started = time.monotonic()
    with open(log, "wb") as output:
        code = _watched(["-m", "scripts.gpu_day.part", *words], day.environment, output, seconds)

    state = OUT_OF_TIME if code is None else DONE if code == 0 else FAILED
    return {
        "name": section.name,
        "state": state,
        "why": "" if state == DONE else _why(code, log),
        "exit_code": code,
        "limit_seconds": round(seconds, 1),
        "seconds": round(time.monotonic() - started, 1),
        "rows": _taken(rows),
    }


def _watched(
    words: Sequence[str], environment: dict[str, str], output: Any, seconds: float
) -> int | None:
    """Return the exit code of a Python process, or None where it was still running at the end.

    Whatever it started in its group ends with it.
    """
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children at once: cnnlab would answer a request by saving.

    One that a driver holds is left.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)


def _why(code: int | None, log: Path) -> str:
    """Return in one line how a section ended, with the last words of its output."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip()[:300] if lines else ""
    if code is None:
        return "killed at its deadline"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}; {last}".rstrip("; ")
    return last if code == NO_DEVICE else f"exit code {code}; {last}".rstrip("; ")


def _taken(rows: Path) -> list[dict[str, Any]]:
    """Return the rows that a section wrote, without a last one that it was writing; remove them."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in rows.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        rows.unlink()
    return found
