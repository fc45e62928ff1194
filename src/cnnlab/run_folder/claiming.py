"""Create a run folder, `<base>/<date>/<time>_<model>_<dataset>`, claimed by mkdir."""

import os
import shlex
import socket
from datetime import datetime
from pathlib import Path

from cnnlab.errors import BusyError, UsageError
from cnnlab.files import atomic
from cnnlab.run_folder.record import BASE, RunFolder, now
from cnnlab.safe_output import escape_control


def claim(name: str, *, base: str | Path = BASE, exact: str | Path | None = None) -> RunFolder:
    """Create and lock a new run folder `<base>/<date>/<time>_<name>`, with `_2` ... where taken.

    exact: create this folder instead. run.json says from now on that it is running, since when and
    in which process. Raises BusyError when the exact folder exists and is not empty, UsageError
    for a name with '=' or '/', ResourceError when the folder cannot be made.
    """
    try:
        run = RunFolder(_make_exactly(Path(exact)) if exact is not None else _make(base, name))
    except OSError as error:
        raise atomic.unwritable(Path(exact or base), error) from error
    run.lock()
    run.update_status(status="running", started=now(), pid=os.getpid(), host=socket.gethostname())
    return run


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

    if not RunFolder(path).status_file.is_file():
        raise BusyError(
            "the path already exists and is not a run folder",
            escape_control(str(path)),
            "name another one",
        )
    again = escape_control(shlex.quote(f"resume={path}"))
    raise BusyError(
        "the run folder exists already",
        escape_control(str(path)),
        f"continue it: cnnlab train {again}; or name another folder",
    )


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
