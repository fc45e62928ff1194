"""Modules of famous names in the current folder: no command imports them, however it is started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.torture import streams

NAMES = ("random", "torch", "yaml", "cnnlab", "hydra", "numpy", "logging", "rich", "PIL")
SPOILED = "open('imported.txt', 'a').write(__name__ + '\\n')\nraise SystemExit(77)\n"
NOTE = "imported.txt"
"""Names of the modules that were imported all the same, one per line."""

COMMAND = str(Path(sys.executable).parent / "cnnlab")
BY_COMMAND = (COMMAND,)
BY_OWN_LINE = (sys.executable, "-P", "-m", "cnnlab")
BY_MODULE = (sys.executable, "-m", "cnnlab")
"""Here Python itself looks for `cnnlab` in the current folder first; any other name is safe."""

TORCHRUN = (sys.executable, "-P", "-m", "torch.distributed.run", "--standalone")
SEVERAL = (*TORCHRUN, "--nproc-per-node=2")
WAYS = {
    "cnnlab": BY_COMMAND,
    "python -m": BY_MODULE,
    "torchrun --no-python cnnlab": (*SEVERAL, "--no-python", COMMAND),
    "torchrun -m": (*SEVERAL, "-m", "cnnlab"),
}
"""How a user starts a command."""


def plant(folder: Path) -> None:
    """Put a module of each name into the folder that leaves a note and ends the process."""
    for name in NAMES:
        (folder / f"{name}.py").write_text(SPOILED)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder, as from a shell without the variables of this process."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    clean |= {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def imported(folder: Path) -> list[str]:
    """Return the names of the modules that were imported since the last call."""
    note = folder / NOTE
    found = note.read_text().split() if note.exists() else []
    note.unlink(missing_ok=True)
    return found


def start_all(folder: Path, names: list[str]) -> dict[str, Any]:
    """Start each of streams.COMMANDS, and a training in each of WAYS; return what went wrong."""
    streams.furnish(folder)
    plant(folder)
    problems = {}

    lines = {
        name: [*BY_COMMAND, *streams.words_of(name, f"new_{name}".replace(" ", "_"))]
        for name in names
    }
    for way, start in WAYS.items():
        lines[way] = [*start, *streams.words_of("train", f"run by {way}")]

    for label, line in lines.items():
        own = folder / "cnnlab.py"  # which Python's -m alone finds, before cnnlab runs
        if "-m" in label and label in WAYS:
            own.unlink(missing_ok=True)
        done = run(folder, *line)
        if found := imported(folder):
            problems[label] = found
        elif done.returncode != 0:
            problems[label] = [f"{done.returncode}: {done.stderr}"]
        own.write_text(SPOILED)
    return {"tried": len(lines), "problems": problems}
