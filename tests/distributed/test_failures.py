"""A process killed, raising or hanging ends the job soon, by name; the run goes on after it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cnnlab import checkpoint
from tests.distributed.launching import ROOT, torchrun

TIMEOUT_SECONDS = 5.0
CONFIGS = str(ROOT / "tests" / "distributed" / "configs")
SETTINGS = [
    "train",
    "--config-dir",
    CONFIGS,
    "plugins=[tests.distributed.faulty_model]",
    "model=faulty",
    "experiment=debug",
    "logging.report=false",
    "logging.tensorboard=false",
    "logging.images_every_epochs=null",
    "saving.every_steps=1",
    f"distributed.timeout_seconds={TIMEOUT_SECONDS}",
]


def trained(folder: Path, name: str, fault: str) -> tuple[int, str, float]:
    """Train in two processes; return exit code, what was said, and seconds after the fault."""
    words = ["-m", "cnnlab", *SETTINGS, f"hydra.run.dir={name}"]
    process = torchrun(*words, folder=folder, FAULT=fault)
    _, errors = process.communicate(timeout=120)
    last = max(path.stat().st_mtime for path in (folder / name / "checkpoints").iterdir())
    return process.returncode, errors, time.time() - last


@pytest.mark.parametrize(
    ("how", "cause", "most_seconds"),
    [
        pytest.param("kill", "killed", 15.0, marks=pytest.mark.slow),
        pytest.param("raise", "RuntimeError: a fault on purpose", 15.0, marks=pytest.mark.slow),
        pytest.param("hang", "no progress for 5 s", TIMEOUT_SECONDS + 10, marks=pytest.mark.slow),
    ],
)
def test_a_lost_process_ends_the_job_and_is_named(
    how: str, cause: str, most_seconds: float, tmp_path: Path
) -> None:
    code, errors, seconds = trained(tmp_path, "run", f"{how} 1 4")

    facts = json.loads((tmp_path / "run" / "error.json").read_text())
    assert code != 0
    assert seconds < most_seconds
    assert (facts["rank"], facts["cause"]) == (1, cause)
    assert f"process 1 of 2 was lost: {cause}" in errors
    assert checkpoint.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    resumed(tmp_path / "run", num_processes=1)
    check_equals_uninterrupted(tmp_path)


def test_a_signal_to_one_process_stops_all_at_the_same_step(tmp_path: Path) -> None:
    code, errors, _ = trained(tmp_path, "run", "term 1 4")

    assert code != 0
    assert errors.count("stopped after step 4") == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    held = checkpoint.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert held.document["step"] == 4
    resumed(tmp_path / "run", num_processes=2)
    check_equals_uninterrupted(tmp_path)


def resumed(run: Path, num_processes: int) -> None:
    """Let the run go on to its end."""
    words = ["-m", "cnnlab", "train", f"resume={run}", "--config-dir", CONFIGS]
    words.append("plugins=[tests.distributed.faulty_model]")
    if num_processes > 1:
        process = torchrun(*words, folder=run.parent, num_processes=num_processes)
        output, errors = process.communicate(timeout=120)
        code = process.returncode
    else:
        done = in_one_process(*words[2:], folder=run.parent)
        code, output, errors = done.returncode, done.stdout, done.stderr
    assert code == 0, errors
    assert ("not bit-identically" in output) == (num_processes == 1)


def check_equals_uninterrupted(folder: Path) -> None:
    """Compare the run's last weights with those of one process that was never disturbed."""
    done = in_one_process(*SETTINGS, "hydra.run.dir=alone", folder=folder)
    assert done.returncode == 0, done.stderr
    found, wanted = (
        checkpoint.read(folder / name / "checkpoints" / "last.safetensors")
        for name in ("run", "alone")
    )
    assert found.document["step"] == wanted.document["step"] == 6
    for name, tensor in wanted.tensors.items():
        if name.startswith("model."):
            # float32, six steps: sums in another order, and nothing else, tell them apart
            torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def in_one_process(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnnlab", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
