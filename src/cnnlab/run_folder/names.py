"""The files of checkpoints/: `last`, `best` and `step_00001200`, all real files.

`last` and `best` are hard links to numbered checkpoints, so that removing a numbered one never
removes them.
"""

import math
import os
import re
from pathlib import Path

from cnnlab.errors import CnnlabError
from cnnlab.files import checksummed, regular, tensor_header

ENDING = ".safetensors"
LAST, BEST = f"last{ENDING}", f"best{ENDING}"
MIN_KEPT = 2
_NUMBERED = re.compile(rf"step_(\d{{8,}}){re.escape(ENDING)}")


def check(folder: Path) -> None:
    """Raise CheckpointError for a checkpoint that is no regular file: a link, a pipe, a folder."""
    for path in [folder / LAST, folder / BEST, *(path for _, path in numbered(folder))]:
        regular.check_file(path)


def at_step(step: int) -> str:
    """Return the file name of the checkpoint after `step` steps."""
    return f"step_{step:08d}{ENDING}"


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, file) of the numbered checkpoints, oldest first."""
    matches = [(_NUMBERED.fullmatch(path.name), path) for path in _files(folder)]
    return sorted((int(match[1]), path) for match, path in matches if match)


def kept(folder: Path) -> list[Path]:
    """Return the numbered checkpoints to be looked at, oldest first.

    Raises CheckpointError for one that is no regular file, as `check` does.
    """
    check(folder)
    return [path for _, path in numbered(folder)]


def newest_first(folder: Path) -> list[Path]:
    """Return every distinct checkpoint, the one to resume from first.

    `last` comes after the highest number: it is the same file, or one save older when the process
    died between the two; `best` comes at the end.
    """
    paths = [path for _, path in reversed(numbered(folder))]
    paths[1:1] = [folder / LAST]
    distinct: dict[tuple[int, int], Path] = {}
    for path in [*paths, folder / BEST]:
        if path.is_file():
            status = path.stat()
            distinct.setdefault((status.st_dev, status.st_ino), path)
    return list(distinct.values())


def to_evaluate(folder: Path) -> Path | None:
    """Return `best`, else `last`, else the highest number, else None; nothing is verified.

    Raises CheckpointError where it is no regular file: a link, a pipe, a folder.
    """
    named = [folder / BEST, folder / LAST, *(path for _, path in reversed(numbered(folder)))]
    found = next((path for path in named if os.path.lexists(path)), None)
    if found is not None:
        regular.check_file(found)
    return found


def prune(folder: Path, keep: int, spread: int = 0, last_step: int = 1) -> None:
    """Remove all but the newest `keep` numbered checkpoints, at least two, and `spread` others.

    last_step: of the whole training, over which those are spread.
    """
    files = numbered(folder)
    spared = spread_over([step for step, _ in files], spread, last_step)
    for step, path in files[: -max(keep, MIN_KEPT)]:
        if step not in spared:
            path.unlink(missing_ok=True)


def spread_over(steps: list[int], count: int, last_step: int) -> set[int]:
    """Return at most `count` of the ascending steps, spread from the first one to `last_step`.

    The moments lie by the same factor apart, since features change fastest at first; each keeps the
    step nearest to it by ratio. A later step replaces an earlier one only where it is nearer, so
    that pruning after every save leaves those that would be chosen of all steps at the end.
    """
    if not steps or not count:
        return set()
    first = max(1, steps[0])
    whole = max(1.0, last_step / first)
    moments = [first * whole ** (i / max(1, count - 1)) for i in range(count)]
    return {
        min(steps, key=lambda step: (abs(math.log(max(1, step) / moment)), step))
        for moment in moments
    }


def set_aside_after(folder: Path, step: int) -> list[Path]:
    """Move every checkpoint of a later step into `abandoned_N` and return the new paths.

    `last` and `best` are moved too when they are later, or so damaged that their step is unknown.
    """
    later = [path for number, path in numbered(folder) if number > step]
    for name in (LAST, BEST):
        if (folder / name).is_file() and _step_of(folder / name) > step:
            later.append(folder / name)
    if not later:
        return []
    target = _new_folder(folder)
    return [path.replace(target / path.name) for path in later]


def _step_of(path: Path) -> float:
    try:
        header, data = checksummed.read(path)
        step = tensor_header.parse(header, len(data), str(path))[1].get("step")
    except CnnlabError:
        return math.inf
    return step if isinstance(step, int) else math.inf


def _new_folder(folder: Path) -> Path:
    number = 1
    while os.path.lexists(folder / f"abandoned_{number}"):
        number += 1
    target = folder / f"abandoned_{number}"
    target.mkdir()
    return target


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
