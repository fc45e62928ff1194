"""Every command with its standard output or standard error closed, full, unread, or plain ASCII."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from scripts.torture import command

CODES = {"closed": 6, "full": 6, "broken": 141}
"""Ways to lose a stream, and how a command ends whose standard output is lost."""

ASCII = {
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
}
"""The variables of a terminal that knows no other letters."""

LEAN = ("experiment=debug", "trainer.epochs=1", "runtime.num_threads=1", "logging.report=false")
COMMANDS = {
    "--help": (),
    "-sc": ("query=cnnlab tr",),
    "train": (*LEAN, "hydra.run.dir={new}"),
    "train -m": ("seed=0,1", *LEAN, "hydra.sweep.dir={new}"),
    "train ensemble.members=2": (*LEAN, "hydra.run.dir={new}"),
    "train schedule=range_test": (*LEAN[:3], "hydra.run.dir={new}"),  # it makes no report
    "evaluate": ("checkpoint=run", "output={new}"),
    "summary": ("model=lenet5",),
    "visualize": ("checkpoint=run", "what=[filters,playground]", "output={new}"),
    "predict": ("checkpoint=run", "images=[picture.png]", "output={new}"),
    "copy": ("experiment=quickstart", "experiment/{new}.yaml"),
    "compare": ("runs=[run,other]", "output={new}.html"),
    "convert": ("source=run", "output={new}.safetensors"),
    "prepare": ("dataset=synthetic", "output={new}"),
    "benchmark": ("experiment=debug", "seconds_per_part=0.01"),
    "reproduce": ("claims=parameters_in_fc", "output={new}"),
    "list": ("runs",),
    "list -m": ("what=models,runs", "hydra.sweep.dir={new}"),
}
"""What each command is asked for in a place made by `furnish`; {new} is a path of its own."""

NUM_LOGS = {
    "train": 1,
    "train -m": 2,
    "train ensemble.members=2": 1,
    "train schedule=range_test": 1,
}
"""Commands that go on without their output, with the number of runs that say so."""

NOT_SAID = ("Traceback", "Exception ignored", "cnnlab: bug")


def picture(folder: Path) -> None:
    """Make a picture in `folder`."""
    from PIL import Image

    Image.new("L", (32, 32)).save(folder / "picture.png")


def furnish(folder: Path) -> None:
    """Make two runs and a picture in `folder`."""
    picture(folder)
    for run in ("run", "other"):
        made = command.call("train", *LEAN, f"hydra.run.dir={folder / run}")
        assert made.code == 0, made.errors


def words_of(name: str, new: str) -> list[str]:
    """Return the words of one of COMMANDS that writes to `new`."""
    return [*name.split(), *(word.format(new=new) for word in COMMANDS[name])]


def unread() -> TextIO:
    """Return a pipe to write to that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w")


def run(
    place: Path, words: list[str], stream: str = "", kind: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with one of its streams lost; in ASCII for `ascii`."""
    number = {"stdout": 1, "stderr": 2}.get(stream)
    redirect = {"closed": f"{number}>&-", "full": f"{number}>/dev/full"}.get(kind, "")
    pipes: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    with contextlib.ExitStack() as stack:
        if kind == "broken":
            pipes[stream] = stack.enter_context(unread())
        python = [sys.executable, "-P", "-m", "cnnlab"]

        # a shell closes a descriptor before Python starts, as a user's does
        return subprocess.run(
            ["bash", "-c", f'exec "$@" {redirect}', "-", *python, *words],
            cwd=place,
            env={**os.environ, **variables},
            text=True,
            check=False,
            **pipes,
        )


def without_output(place: Path, name: str, kind: str) -> list[str]:
    """Run one of COMMANDS without standard output; return what is wrong with its end."""
    new = f"{name.replace(' ', '_')}_{kind}"
    done = run(place, words_of(name, new), "stdout", kind)

    goes_on, code = name in NUM_LOGS, 0 if name in NUM_LOGS else CODES[kind]
    found = [] if done.returncode == code else [f"exit code {done.returncode}, not {code}"]

    num_said = done.stderr.count("standard output ")
    if num_said != NUM_LOGS.get(name, 0 if kind == "broken" else 1):
        found.append(f"said {num_said} times that the output is lost")
    if goes_on and name == "train" and "try next" not in (place / new / "train.log").read_text():
        found.append("the log has no end")
    return found + [f"{word}: {done.stderr}" for word in NOT_SAID if word in done.stderr]


def without_messages(place: Path, name: str, kind: str) -> list[str]:
    """Run one of COMMANDS without standard error; return what is wrong with its end."""
    done = run(place, words_of(name, f"{name.replace(' ', '_')}_2_{kind}"), "stderr", kind)
    found = [] if done.returncode == 0 else [f"exit code {done.returncode}"]
    return found if done.stdout else [*found, "no output"]


def in_ascii(place: Path, name: str) -> list[str]:
    """Run one of COMMANDS where all is ASCII; return what is wrong with its end."""
    done = run(place, words_of(name, f"{name.replace(' ', '_')}_ascii"), **ASCII)
    found = [] if done.returncode == 0 else [f"exit code {done.returncode}: {done.stderr}"]
    return found if done.stdout and done.stdout.isascii() else [*found, f"said {done.stdout!r}"]


def lose_all(folder: Path, names: list[str]) -> dict[str, Any]:
    """Lose each stream of each command in each way; return the tries and what was wrong."""
    furnish(folder)
    tried = 0
    problems = {}
    for label, found in _tries(folder, names):
        tried += 1
        if found:
            problems[label] = found
    return {"tried": tried, "problems": problems}


def _tries(place: Path, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    for name in names:
        yield f"{name}, ascii", in_ascii(place, name)
        for kind in CODES:
            yield f"{name}, stdout {kind}", without_output(place, name, kind)
            yield f"{name}, stderr {kind}", without_messages(place, name, kind)
