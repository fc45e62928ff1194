"""End a process at every system call of a save, one after another, and inspect what is left.

Runs in its own process and forks a child for each crash, so that torch is imported once.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint
from cnnlab.errors import CnnlabError
from cnnlab.run_folder import RunFolder, newest_checkpoint

WATCHED = ("open", "write", "pwrite", "fsync", "replace", "link", "unlink", "close")
NUM_SAVES_BEFORE = 3
MAX_POINTS = 400


def save(run: RunFolder, step: int) -> None:
    """Do all that training does at a save: write, mark best and last, prune."""
    tensors = {"model.weight": torch.full((64, 64), float(step)), "model.bias": torch.ones(3)}
    checkpoint.write(run.checkpoint_file(step), tensors, {"step": step})
    run.mark(step, "best")
    run.mark(step, "last")
    run.prune(2)


def arm(point: int, *, half_done: bool) -> None:
    """Make the `point`-th watched call end the process, half of a write done if `half_done`."""
    calls = 0

    def armed(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point:
                if half_done and name == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(77)
            return original(*arguments, **options)

        return call

    for name in WATCHED:
        setattr(os, name, armed(name, getattr(os, name)))


def crash_at(folder: Path, point: int, *, half_done: bool) -> bool:
    """Save step 4 in a child that dies at `point`; return whether it died."""
    child = os.fork()
    if child == 0:
        arm(point, half_done=half_done)
        save(RunFolder(folder), NUM_SAVES_BEFORE + 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def inspect(folder: Path) -> dict[str, Any]:
    """Return what a resume finds: its step, unreadable files, partial files that it removed."""
    run = RunFolder(folder)
    leftovers = run.lock()

    unreadable = []
    for path in run.checkpoints.iterdir():
        try:
            checkpoint.read(path)
        except CnnlabError:
            unreadable.append(path.name)

    newest = newest_checkpoint(run, lambda _: None)
    step = checkpoint.read(newest).document["step"] if newest else None
    names = sorted(path.name for path in run.checkpoints.iterdir())
    run.release()
    return {"step": step, "unreadable": unreadable, "swept": len(leftovers), "names": names}


def crash_everywhere(base: Path, *, half_done: bool) -> list[dict[str, Any]]:
    """Crash at call 1, 2, 3 ... of a save until one completes; return what each left."""
    start = base / f"start_{half_done}"
    start.mkdir()
    run = RunFolder(start)
    run.lock()
    for step in range(1, NUM_SAVES_BEFORE + 1):
        save(run, step)
    run.release()

    found = []
    for point in range(1, MAX_POINTS):
        folder = base / f"point_{point}_{half_done}"
        shutil.copytree(start, folder, copy_function=os.link)  # a save changes names, not contents
        died = crash_at(folder, point, half_done=half_done)
        found.append({"point": point, "died": died, **inspect(folder)})
        if not died:
            return found
    raise AssertionError(f"a save has more than {MAX_POINTS} system calls")


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    print(
        json.dumps([r for half in (False, True) for r in crash_everywhere(place, half_done=half)])
    )
