"""Find runs, and the checkpoint to resume from or to evaluate."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnlab.errors import CheckpointError, UsageError
from cnnlab.files import checksummed, regular
from cnnlab.run_folder import lock, names
from cnnlab.run_folder.record import BASE, START_HINT, RunFolder
from cnnlab.safe_output import escape_control

_MAX_DEPTH = 6
"""Folders between the base and a run, as in multirun/<time>/<hydra.sweep.subdir>."""


def find_run(where: str | Path, *, base: str | Path = BASE) -> RunFolder:
    """Return the run of a folder, of a checkpoint file in one, or `latest`: the newest in `base`.

    Raises UsageError when there is none, saying how to start one.
    """
    if str(where) == "latest":
        runs = _runs_by_start(base)
        if not runs:
            raise UsageError("there is no run yet", escape_control(str(base)), START_HINT)
        return runs[-1]

    path = Path(where)
    if path.is_file():
        path = next(filter(_is_run, path.resolve().parents), path)
    if not _is_run(path):
        problem = "this is not a run folder" if path.exists() else "there is no such run folder"
        raise UsageError(problem, escape_control(str(where)), START_HINT)
    return RunFolder(path)


def newest_checkpoint(run: RunFolder, warn: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint whose digest matches, None when none was ever saved.

    `warn` is called for damaged ones, which are skipped. Raises CheckpointError when there are
    checkpoints and all are damaged.
    """
    regular.check_folder(run.checkpoints)
    candidates = names.newest_first(run.checkpoints)
    for path in candidates:
        try:
            checksummed.verify(path)
        except CheckpointError as error:
            warn(f"skipping {escape_control(str(path))}: {error.what}")
        else:
            return path

    if not candidates:
        return None
    raise CheckpointError(
        "all of the run's checkpoints are damaged",
        escape_control(str(run.checkpoints)),
        "remove them to restart at step 0 in the same folder",
    )


def resolve_checkpoint(where: str | Path, *, base: str | Path = BASE) -> Path:
    """Return the checkpoint to evaluate: a file as it is; of a run folder `best`, else `last`.

    `latest`: of the newest run that has one. Nothing is verified here. Raises CheckpointError where
    there is none.
    """
    path = Path(where)
    if str(where) == "latest":
        folders = [run.checkpoints for run in reversed(_runs_by_start(base))]
    elif path.is_dir():
        folders = [path / "checkpoints", path]
    else:
        return path

    for folder in folders:
        if folder != path:  # a folder that was named may be a link of the user's
            regular.check_folder(folder)
        if found := names.to_evaluate(folder):
            return found
    place = base if str(where) == "latest" else where
    raise CheckpointError("there is no checkpoint here", escape_control(str(place)), START_HINT)


def list_runs(base: str | Path = BASE) -> list[dict[str, Any]]:
    """Return run.json of every run under `base`, oldest first, with its `path` added."""
    return [current_status(run) | {"path": str(run.path)} for run in _runs_by_start(base)]


def current_status(run: RunFolder) -> dict[str, Any]:
    """Return run.json as it reads now.

    A run whose status is running, but which no process writes, gets the status `killed`, one whose
    run.json is a link, a pipe or the like the status `unreadable`.
    """
    facts = _status_of(run)
    if facts.get("status") == "running" and not lock.is_held(run.path):
        facts["status"] = "killed"
    return facts


def _status_of(run: RunFolder) -> dict[str, Any]:
    try:
        return run.status()
    except CheckpointError:
        return {"status": "unreadable"}


def _is_run(path: Path) -> bool:
    """Return whether a folder has a run's files, or what stands in their place."""
    return any(os.path.lexists(path / name) for name in ("config.yaml", "run.json"))


def _runs_by_start(base: str | Path) -> list[RunFolder]:
    found = [RunFolder(path) for path in _run_paths(Path(base), _MAX_DEPTH)]
    return sorted(found, key=lambda run: (_start_seconds(run), str(run.path)))


def _run_paths(folder: Path, depth: int) -> list[Path]:
    if _is_run(folder):
        return [folder]
    if depth == 0 or not folder.is_dir():
        return []
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    return [found for path in inner for found in _run_paths(path, depth - 1)]


def _start_seconds(run: RunFolder) -> float:
    try:
        return datetime.fromisoformat(run.status()["started"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, OSError, CheckpointError):
        return run.path.stat().st_mtime
