"""Two processes of one job that were started differently: both end, and the difference is named."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.torture import strangers

MOST_SECONDS = 600  # of a machine under load
WAIT = "distributed.timeout_seconds=20"


@dataclass(frozen=True)
class Difference:
    """What the second process has more than the first, and how both must end."""

    said: str
    words: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    codes: tuple[int, int] = (2, 2)


DIFFERENCES = {
    "seed": Difference("differ in seed", ("seed=1",)),
    "length": Difference("differ in trainer.epochs", ("trainer.epochs=5",)),
    "batch": Difference("differ in trainer.batch_size", ("trainer.batch_size=6",)),
    "rate": Difference("differ in optimizer.learning_rate", ("optimizer.learning_rate=0.3",)),
    "decay": Difference("differ in optimizer.weight_decay", ("optimizer.weight_decay=0.3",)),
    "model": Difference("differ in model", ("model=mlp",)),
    "augmentation": Difference("differ in augment", ("augment=none",)),
    "precision": Difference("differ in runtime.precision", ("runtime.precision=bf16",)),
    "images": Difference("differ in dataset.num_train", ("dataset.num_train=40",)),
    "size": Difference("differ in WORLD_SIZE", (), {"WORLD_SIZE": "3"}),
    "rank": Difference("a second RANK=0, has this port", (), {"RANK": "0"}, (7, 6)),
    "port": Difference("did not come within", (), {"MASTER_PORT": "free"}, (7, 7)),
}


def disagree(folder: Path, names: list[str]) -> dict[str, Any]:
    """Start two processes with each of the differences; return the tries and what was wrong."""
    problems = {}
    for name in names:
        if found := _problems(folder / name, DIFFERENCES[name]):
            problems[name] = found
    return {"tried": len(names), "problems": problems}


def _problems(folder: Path, difference: Difference) -> list[str]:
    folder.mkdir()
    port = _free_port()
    variables = dict(difference.variables)
    if variables.get("MASTER_PORT") == "free":
        variables["MASTER_PORT"] = _free_port()
    both = [
        _started(folder, {"RANK": "0", "MASTER_PORT": port}),
        _started(folder, {"RANK": "1", "MASTER_PORT": port} | variables, *difference.words),
    ]
    ends = [_ended(process) for process in both]

    codes = [code for code, _ in ends]
    said = "".join(errors for _, errors in ends)
    found = []
    if codes != list(difference.codes):
        found.append(f"exit codes {codes}")
    if difference.said not in said or "Traceback" in said:
        found.append(f"said {said[-600:]!r}")
    if (folder / "run").exists():
        found.append("a run folder was made")
    return found


def _started(folder: Path, job: Mapping[str, str], *words: str) -> "subprocess.Popen[str]":
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "LOCAL_RANK": job["RANK"],
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    line = [sys.executable, "-P", "-m", "cnnlab", *strangers.TINY, WAIT, *words]
    return subprocess.Popen(
        [*line, "hydra.run.dir=run"],
        cwd=folder,
        env=os.environ | shared | dict(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    with process:
        try:
            _, errors = process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return -1, f"no end after {MOST_SECONDS} s"
        return process.returncode, errors


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return str(closed.getsockname()[1])
