"""A process killed, raising or hanging ends the job soon, by name; the run goes on after it."""

import json
import time
from pathlib import Path

import pytest

from cnnlab import checkpoint
from tests.distributed.launching import (
    PLUGIN,
    SETTINGS,
    TIMEOUT_SECONDS,
    in_one_process,
    torchrun,
)
from tests.distributed.test_commands import check_same_weights, last_of

pytestmark = pytest.mark.slow


def trained(folder: Path, name: str, fault: str, *flags: str) -> tuple[int, str, float]:
    """Train in two processes; return exit code, what was said, and seconds after the fault."""
    words = ["-m", "cnnlab", *SETTINGS, f"hydra.run.dir={name}"]
    process = torchrun(*words, folder=folder, flags=("--standalone", *flags), FAULT=fault)
    _, errors = process.communicate(timeout=120)
    last = max(path.stat().st_mtime for path in (folder / name / "checkpoints").iterdir())
    return process.returncode, errors, time.time() - last


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("how", "cause", "most_seconds"),
    [
        ("kill", "killed", 15.0),
        ("raise", "RuntimeError: a fault on purpose", 15.0),
        ("memory", "out of memory", 15.0),
        ("hang", "no progress for 5 s", TIMEOUT_SECONDS + 10),
        ("freeze", "silent for 10 s", 20.0),
    ],
)
def test_a_lost_process_ends_the_job_and_is_named(
    how: str, cause: str, most_seconds: float, rank: int, tmp_path: Path
) -> None:
    code, errors, seconds = trained(tmp_path, "run", f"{how} {rank} 4")

    facts = json.loads((tmp_path / "run" / "error.json").read_text())
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert code != 0
    assert seconds < most_seconds, errors
    assert facts["rank"] == rank
    assert facts["cause"].startswith(cause)
    assert f"process {rank} of 2 was lost: {cause}" in errors
    assert (status["status"], f"process {rank} of 2" in status["error"]) == ("failed", True)
    assert checkpoint.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    resumed(tmp_path / "run", num_processes=1 + rank)
    check_equals_uninterrupted(tmp_path)


def resumed(run: Path, num_processes: int) -> None:
    """Let the run go on to its end."""
    words = ["train", f"resume={run}", *PLUGIN]
    if num_processes > 1:
        process = torchrun("-m", "cnnlab", *words, folder=run.parent, num_processes=num_processes)
        output, errors = process.communicate(timeout=120)
        code = process.returncode
    else:
        done = in_one_process(*words, folder=run.parent)
        code, output, errors = done.returncode, done.stdout, done.stderr
    assert code == 0, errors
    assert ("not bit-identically" in output) == (num_processes == 1)


def check_equals_uninterrupted(folder: Path) -> None:
    """Compare the run's last weights with those of one process that was never disturbed."""
    done = in_one_process(*SETTINGS, "hydra.run.dir=alone", folder=folder)
    assert done.returncode == 0, done.stderr
    check_same_weights(last_of(folder / "run"), last_of(folder / "alone"))
