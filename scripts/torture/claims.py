"""Three claims of the papers, measured by a command that is killed at random moments.

The rows must be those of a command that was left alone: figures, intervals and verdicts.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from scripts.torture import command

CLAIMS = ("answer_invariant", "distortions_help", "rejection")
SEEDS = 2
LONGEST_WAIT_SECONDS = 4.0
"""Of the wait between the first checkpoint that a command writes and its kill."""


def kill_and_compare(folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Measure the claims alone, then with so many kills; return both rows' likeness.

    Every second kill hits the command alone, so that its trainings go on without it.
    """
    _end(command.start(*_words(folder / "whole")))
    draw, done = random.Random(seed), 0
    for number in range(kills):
        process = command.start(*_words(folder / "killed"))
        if not _waited_for_a_checkpoint(folder / "killed", process):
            break
        time.sleep(draw.uniform(0, LONGEST_WAIT_SECONDS))
        done += _kill(process, alone=number % 2 == 1)

    _end(command.start(*_words(folder / "killed")))
    whole, killed = rows(folder / "whole"), rows(folder / "killed")
    equal = [name for name in CLAIMS if whole[name] == killed[name]]
    runs = len(list((folder / "whole").glob("runs/*")))
    return {"claims": len(CLAIMS), "runs": runs, "kills": done, "equal_rows": len(equal)}


def _words(output: Path) -> list[str]:
    claims = f"claims=[{','.join(CLAIMS)}]"
    return ["reproduce", claims, f"seeds={SEEDS}", f"output={output}", "runtime.device=cpu"]


def _waited_for_a_checkpoint(output: Path, process: "subprocess.Popen[str]") -> bool:
    """Wait until the command's runs have saved anew; return whether it still runs then."""
    before = _newest(output)
    while process.poll() is None:
        if _newest(output) > before:
            return True
        time.sleep(0.05)
    _end(process)
    return False


def _newest(output: Path) -> int:
    files = output.glob("runs/*/checkpoints/step_*")
    return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)


def _kill(process: "subprocess.Popen[str]", *, alone: bool) -> int:
    """Kill the command, or it and its trainings; return 1 if it was still running."""
    if process.poll() is None:
        if alone:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    _, _ = process.communicate()
    return int(process.returncode == -signal.SIGKILL)


def _end(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def rows(output: Path) -> dict[str, Any]:
    """Return what the table says of each claim, without times and folders."""
    document = json.loads((output / "reproduction.json").read_text())
    return {
        row["name"]: [row["verdict"], row["difference"], [arm["figures"] for arm in row["arms"]]]
        for row in document["claims"]
    }
