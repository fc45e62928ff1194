"""Making and finding run folders: `<base>/<date>/<time>_<model>_<dataset>`, claimed by mkdir."""

import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnlab import atomic_file, checkpoint_names, run_lock, sealed_file
from cnnlab.errors import BusyError, CheckpointError, UsageError
from cnnlab.printable import printable
from cnnlab.run_record import START_HINT, RunFolder, now

__all__ = [
    "BASE",
    "RunFolder",
    "claim",
    "find_run",
    "list_runs",
    "newest_checkpoint",
    "now",
    "resolve_checkpoint",
    "resume_point",
]

BASE = "outputs"
_MAX_DEPTH = 3


def claim(name: str, *, base: str | Path = BASE, exact: str | Path | None = None) -> RunFolder:
    """Make and lock a new run folder `<base>/<date>/<time>_<name>`, `_2`, `_3` ... when taken.

    exact: this very folder instead. run.json says at once that it is running, since when and by
    whom. Raises BusyError when the exact folder exists and is not empty, UsageError for a name
    with '=' or '/', ResourceError when the folder cannot be made.
    """
    try:
        run = RunFolder(_make_exactly(Path(exact)) if exact is not None else _make(base, name))
    except OSError as error:
        raise atomic_file.unwritable(Path(exact or base), error) from error
    run.lock()
    run.update_status(status="running", started=now(), pid=os.getpid(), host=socket.gethostname())
    return run


def find_run(where: str | Path, *, base: str | Path = BASE) -> RunFolder:
    """Return the run of a folder, of a checkpoint file in it, or the `latest` under `base`.

    Raises UsageError when it is no run folder, saying how to start one.
    """
    if str(where) == "latest":
        runs = _runs_by_start(base)
        if not runs:
            raise UsageError("there is no run yet", printable(str(base)), START_HINT)
        return runs[-1]
    path = Path(where)
    if path.is_file() and path.parent.name == "checkpoints":
        path = path.parent.parent
    if not _is_run(path):
        problem = "this is not a run folder" if path.exists() else "there is no such run folder"
        raise UsageError(problem, printable(str(where)), START_HINT)
    return RunFolder(path)


def newest_checkpoint(run: RunFolder, warn: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint whose digest holds, None when none was ever finished.

    Damaged ones are named through `warn` and passed over. Raises CheckpointError when there are
    checkpoints and none of them is whole.
    """
    candidates = checkpoint_names.newest_first(run.checkpoints)
    for path in candidates:
        try:
            sealed_file.verify(path)
        except CheckpointError as error:
            warn(f"skipping {printable(str(path))}: {error.what}")
        else:
            return path
    if not candidates:
        return None
    raise CheckpointError("none of the run's checkpoints is whole", printable(str(run.path)))


def resume_point(
    where: str | Path, warn: Callable[[str], None], *, base: str | Path = BASE
) -> tuple[RunFolder, Path | None]:
    """Return the run to continue and the checkpoint to continue from (None: from step 0).

    A named file is taken as it is, or CheckpointError: it is never replaced by another. Raises
    as `find_run` and `newest_checkpoint` do.
    """
    run = find_run(where, base=base)
    if Path(where).is_file():
        sealed_file.verify(where)
        return run, Path(where)
    return run, newest_checkpoint(run, warn)


def resolve_checkpoint(where: str | Path, *, base: str | Path = BASE) -> Path:
    """Return the checkpoint to evaluate: a file itself; of a run folder `best`, else `last`.

    `latest`: the newest run that has one. Nothing is verified here. Raises CheckpointError.
    """
    path = Path(where)
    if str(where) == "latest":
        folders = [run.checkpoints for run in reversed(_runs_by_start(base))]
    elif path.is_dir():
        folders = [path / "checkpoints", path]
    else:
        return path
    for folder in folders:
        if found := checkpoint_names.to_evaluate(folder):
            return found
    place = base if str(where) == "latest" else where
    raise CheckpointError("there is no checkpoint here", printable(str(place)), START_HINT)


def list_runs(base: str | Path = BASE) -> list[dict[str, Any]]:
    """Return run.json of every run under `base`, oldest first, with its `path` added.

    A run that says it is running but has no writer any more gets the status `killed`.
    """
    listed = []
    for run in _runs_by_start(base):
        facts = run.status() | {"path": str(run.path)}
        if facts.get("status") == "running" and not run_lock.is_held(run.path):
            facts["status"] = "killed"
        listed.append(facts)
    return listed


def _make(base: str | Path, name: str) -> Path:
    if "=" in name or "/" in name:
        raise UsageError(f"the name of a run folder has no '=' and no '/', got {name!r}")
    moment = datetime.now()
    folder = Path(base) / moment.strftime("%Y-%m-%d")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{moment.strftime('%H-%M-%S')}_{name}"
    path, number = folder / stem, 1
    while not _made(path):
        number += 1
        path = folder / f"{stem}_{number}"
    return path


def _make_exactly(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if _made(path) or (path.is_dir() and not any(path.iterdir())):
        return path
    raise BusyError(
        "the run folder exists already",
        printable(str(path)),
        f"go on with it: cnnlab train resume={printable(str(path))}; or name another",
    )


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() or (path / "run.json").is_file()


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
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return run.path.stat().st_mtime
