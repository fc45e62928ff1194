"""A training loop in a process of its own, so that no loop sees the global settings of another."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from work import Advance

MARK = "@"


def serve(advance: Advance) -> None:
    """Answer each number of steps on stdin with seconds and losses on stdout, until it closes."""
    print(f"{MARK}ready", flush=True)
    for line in sys.stdin:
        print(MARK + json.dumps(advance(int(line))), flush=True)


def start(script: str, *words: str, variables: Mapping[str, str] | None = None) -> Advance:
    """Start `script` as a process that serves a loop, and return the loop.

    variables: of its environment, besides those of this process.
    """
    command = [sys.executable, str(Path(script).resolve()), "--serve", *words]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **(variables or {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answers = process.stdin, process.stdout

    def answer() -> str:
        for line in answers:
            if line.startswith(MARK):
                return line[len(MARK) :]
        raise RuntimeError(f"a benchmark process ended: {' '.join(command)}")

    answer()  # "ready": the loop is built

    def advance(num_steps: int) -> tuple[float, list[float]]:
        print(num_steps, file=asked, flush=True)
        seconds, losses = json.loads(answer())
        return seconds, losses

    return advance
