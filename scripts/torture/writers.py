"""Kill writers at random moments while they save back to back; no file may be unreadable.

    python scripts/torture/writers.py FOLDER KILLS SEED

Prints one JSON document.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint
from cnnlab.errors import CnnlabError
from cnnlab.run_folder import RunFolder, newest_checkpoint

NUM_VALUES = 1_000_000  # 4 MB: a write takes milliseconds, so most kills hit one
LONGEST_SECONDS = 0.12


def save_repeatedly(run: RunFolder, step: int, progress: int) -> None:
    """Save step after step; tell the parent through a pipe when a save is complete."""
    weights = torch.arange(NUM_VALUES, dtype=torch.float32)
    while True:
        step += 1
        checkpoint.write(run.checkpoint_file(step), {"model.weight": weights}, {"step": step})
        if step % 3 == 0:
            run.mark(step, "best")
        run.mark(step, "last")
        os.write(progress, step.to_bytes(8, "little"))
        run.prune(2)


def kill_once(run: RunFolder, step: int, wait_seconds: float) -> int:
    """Start a writer, kill -9 it after a while, return the last step it reported as saved."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run.lock()
        save_repeatedly(run, step, writing)

    os.close(writing)
    time.sleep(wait_seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    with os.fdopen(reading, "rb") as pipe:
        reported = pipe.read()
    return int.from_bytes(reported[-8:], "little") if reported else step


def unreadable(run: RunFolder) -> list[str]:
    """Return the names of complete checkpoints that do not verify."""
    bad = []
    for path in run.checkpoints.glob("*.safetensors"):
        try:
            checkpoint.read(path)
        except CnnlabError:
            bad.append(path.name)
    return bad


def kill_writers(folder: Path, num_kills: int, seed: int) -> dict[str, Any]:
    """Kill `num_kills` writers of one run; each continues from where the last was killed."""
    draw, run = random.Random(seed), RunFolder(folder)
    step = num_unreadable = num_lost = num_interrupted = 0
    for _ in range(num_kills):
        reported = kill_once(run, step, draw.uniform(0.002, LONGEST_SECONDS))
        num_unreadable += len(unreadable(run))
        num_interrupted += len(run.lock())
        run.release()

        newest = newest_checkpoint(run, lambda _: None)
        step = checkpoint.read(newest).document["step"] if newest else 0
        num_lost += step < reported

    return {
        "kills": num_kills,
        "kills_within_a_write": num_interrupted,
        "last_step": step,
        "unreadable": num_unreadable,
        "saves_lost": num_lost,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(json.dumps(kill_writers(place, int(sys.argv[2]), int(sys.argv[3]))))
