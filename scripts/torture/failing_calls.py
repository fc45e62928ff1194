"""The n-th write, fsync, rename ... of every command fails with an error of the system.

    LD_PRELOAD=failing_calls.so python scripts/torture/failing_calls.py FOLDER MOST_POINTS [COMMAND]

Runs in its own process, in which every C library call can fail (failing_calls.c), and forks a
child for each try, so that torch is imported once. Prints one JSON document.
"""

import ctypes
import errno
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint
from cnnlab.errors import CnnlabError
from scripts.torture import command, strangers, streams

SOURCE = Path(__file__).with_suffix(".c")
MOST_SECONDS = 120
ERRORS = {
    "open": (errno.EACCES, errno.EIO),
    "read": (errno.EIO, errno.ESTALE),
    "create": (errno.ENOSPC, errno.EACCES),
    "write": (errno.ENOSPC, errno.EIO),
    "truncate": (errno.EIO,),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.EPERM),
    "link": (errno.EPERM, errno.EIO),
    "unlink": (errno.EIO, errno.EPERM),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "flock": (errno.ENOLCK, errno.EIO),
}
"""Kinds of calls, and the errors that each is made to give."""

COMMANDS = {
    "train": (*strangers.TINY, "hydra.run.dir=new"),
    "train -m": ("train", "-m", "seed=0,1", *strangers.TINY[1:], "hydra.sweep.dir=new"),
    "train resume": ("train", "resume=outputs/run", "trainer.epochs=2"),
    "evaluate": ("evaluate", "checkpoint=outputs/run", "output=new"),
    "visualize": ("visualize", "checkpoint=outputs/run", "what=[filters,playground]", "output=new"),
    "predict": ("predict", "checkpoint=outputs/run", "images=[picture.png]", "output=new"),
    "copy": ("copy", "experiment=quickstart", "experiment/mine.yaml"),
    "compare": ("compare", "runs=[outputs/run,outputs/other]", "output=new.html"),
    "convert": ("convert", "source=outputs/run", "output=new.safetensors"),
    "prepare": ("prepare", "dataset=synthetic", "output=new"),
    "reproduce": ("reproduce", "claims=parameters_in_fc", "output=new"),
    "list": ("list", "runs"),
}
ALLOWED = (0, 3, 4, 6, 8)


def compile_library(folder: Path) -> Path:
    """Return the compiled failing_calls.c. Raises OSError where there is no C compiler."""
    library = folder / "failing_calls.so"
    line = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(line, check=True, capture_output=True)
    return library


def attack(base: Path, most_points: int, names: Sequence[str]) -> dict[str, Any]:
    """Fail calls of each command, at most `most_points` places of each kind; return the problems.

    A try is a problem where the command does not end as it should (a bug, a traceback, no end),
    or where a checkpoint of an earlier run, or of its own, cannot be read afterwards.
    """
    made = base / "made"
    made.mkdir()
    os.chdir(made)
    _warm([*strangers.TINY, "hydra.run.dir=outputs/run"], made)
    shutil.copytree("outputs/run", "outputs/other")
    streams.picture(made)

    tried, problems = {}, {}
    for name in names:
        _warm(list(COMMANDS[name]), base / "warm", made)
        for kind, point, error in _points(name, base, made, most_points):
            tried[name] = tried.get(name, 0) + 1
            place = _copy(made, base / "place")
            outcome = _forked(COMMANDS[name], place, kind, point, error)
            if found := _problems(outcome, place):
                problems[f"{name}: {kind} {point}: {errno.errorcode[error]}"] = found
    return {"tried": sum(tried.values()), "by_command": tried, "problems": problems}


def _points(name: str, base: Path, made: Path, most_points: int) -> Iterator[tuple[str, int, int]]:
    """Yield kind, number and error of the calls to fail: first, last, and evenly between."""
    for kind, errors in ERRORS.items():
        outcome = _forked(COMMANDS[name], _copy(made, base / "place"), kind, 0, 0)
        num_calls = outcome["calls"]
        num_points = min(most_points, num_calls)
        points = {
            1 + round(index * (num_calls - 1) / max(num_points - 1, 1))
            for index in range(num_points)
        }
        for number, point in enumerate(sorted(points)):
            yield kind, point, errors[number % len(errors)]


def _problems(outcome: dict[str, Any], place: Path) -> list[str]:
    code, said = outcome["code"], outcome["errors"]
    found = [] if code in ALLOWED else [f"exit code {code}"]

    messages = [line for line in said.splitlines() if line.startswith("cnnlab: ")]
    if "Traceback" in said or "bug: " in said or (code and not messages):
        found.append("not a message")
    for path in place.rglob("checkpoints/*.safetensors"):
        try:
            checkpoint.verify(path)
        except CnnlabError as error:
            found.append(f"{path.relative_to(place)}: {error}")
    if not list((place / "outputs" / "run" / "checkpoints").glob("step_*.safetensors")):
        found.append("the earlier run has lost its checkpoints")
    return [*found, said[-400:]] if found else []


def _copy(made: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made, place, symlinks=True)
    return place


def _warm(words: list[str], place: Path, made: Path | None = None) -> None:
    """Run a command once in a child, and import here what it has imported."""
    if made is not None:
        _copy(made, place)
    outcome = _forked(words, place, "none", 0, 0)
    assert outcome["code"] == 0, outcome
    for name in outcome["modules"]:
        if name not in sys.modules:
            try:
                importlib.import_module(name)
            except Exception:  # a module that is imported under conditions of its own
                continue


def _forked(words: Sequence[str], place: Path, kind: str, point: int, error: int) -> dict[str, Any]:
    """Run a command in a child whose `point`-th call of a kind below `place` fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.chdir(place)
        library = ctypes.CDLL(None)
        library.fail_arm(str(place).encode(), kind.encode(), ctypes.c_long(point), error)
        outcome = command.call(*words)
        num_calls = library.fail_count()
        library.fail_arm(b"", b"", ctypes.c_long(0), 0)  # what follows is ours
        found = {
            "code": outcome.code,
            "errors": outcome.errors,
            "calls": num_calls,
            "modules": list(sys.modules),
        }
        with open(writing, "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)

    os.close(writing)
    try:
        return json.loads(_read(reading))
    except (TimeoutError, json.JSONDecodeError) as problem:
        os.kill(child, signal.SIGKILL)
        said = f"{type(problem).__name__}: no end, or none that could be told"
        return {"code": -1, "errors": said, "calls": 0, "modules": []}
    finally:
        os.close(reading)
        os.waitpid(child, 0)


def _read(descriptor: int) -> bytes:
    found = b""
    while select.select([descriptor], [], [], MOST_SECONDS)[0]:
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return found
        found += piece
    raise TimeoutError


if __name__ == "__main__":
    torch.set_num_threads(1)
    base, most_points, *names = sys.argv[1:]
    print(json.dumps(attack(Path(base), int(most_points), names or list(COMMANDS))))
