"""Run cnnlab commands, in this process or in one that can be killed, and compare their runs."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint, cli
from cnnlab.run_folder import RunFolder

TIME_KEYS = {"speed/images_per_second"}


@dataclass(frozen=True)
class Outcome:
    """Exit code, output and duration of a command."""

    code: int
    output: str
    errors: str
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether there is no traceback, no exit code 1 and at most three lines of errors."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return "Traceback" not in self.errors and self.code != 1 and len(lines) <= 3


def call(*arguments: str) -> Outcome:
    """Run one command in this process, which saves the seconds of importing torch."""
    output, errors, started = io.StringIO(), io.StringIO(), time.perf_counter()
    words = list(sys.argv)

    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = cli.main(list(arguments))
        except SystemExit as error:  # Hydra's own --help, --version and the like
            code = int(error.code or 0)
        except BaseException as error:  # nothing may escape: counts as a traceback
            code = 1
            print(f"Traceback: {type(error).__name__}: {error}", file=errors)

    sys.argv = words
    return Outcome(code, output.getvalue(), errors.getvalue(), time.perf_counter() - started)


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start one command as the leader of a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cnnlab", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )


def trace(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, floats in hex, without those that depend on the clock."""
    lines = RunFolder(folder).metrics_file.read_text().splitlines()
    return [
        {k: _hex(v) for k, v in json.loads(line).items() if k not in TIME_KEYS} for line in lines
    ]


EMPTY = torch.empty(0)


def differences(first: Path, second: Path) -> list[str]:
    """Return how two finished runs differ: metrics by step, the last checkpoint bit by bit."""
    found = []
    ours, theirs = trace(first), trace(second)
    if ours != theirs:
        step = next((a["step"] for a, b in zip(ours, theirs, strict=False) if a != b), "the end")
        found.append(f"figures differ from step {step} ({len(ours)} and {len(theirs)} lines)")

    one, two = (
        checkpoint.read(RunFolder(f).checkpoints / "last.safetensors") for f in (first, second)
    )
    unequal = [n for n in one.tensors if not torch.equal(one.tensors[n], two.tensors.get(n, EMPTY))]
    if unequal or set(one.tensors) != set(two.tensors):
        found.append(f"tensors differ: {unequal[:3]}")
    if _timeless(one.document) != _timeless(two.document):
        found.append("documents differ")
    return found


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in document["metrics"].items() if name not in TIME_KEYS}
    return document | {"metrics": kept}


def _hex(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
