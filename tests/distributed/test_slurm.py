"""The batch script of docs/devices.md: stopped before its time is over, requeued, ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributed.launching import PLUGIN, ROOT, SETTINGS, environment, finished, wait_for

pytestmark = pytest.mark.slow
SCRIPT = str(ROOT / "scripts" / "slurm.sbatch")
LONG = [f"--config-dir={PLUGIN[1]}", *SETTINGS[3:], "trainer.epochs=100"]
"""The settings without the verb, the folder of configs in one word."""


def submitted(folder: Path) -> subprocess.Popen[str]:
    """Start the script as SLURM does, in two processes; `scontrol` notes what it is told."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "scontrol").write_text(f'#!/bin/bash\necho "$@" >> {folder}/scontrol.txt\n')
    python = f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    (programs / "torchrun").write_text(python)
    for program in programs.iterdir():
        program.chmod(0o755)
    variables = environment(
        PATH=f"{programs}:{os.environ['PATH']}", SLURM_JOB_ID="7", NUM_PROCESSES="2"
    )
    return subprocess.Popen(
        ["bash", SCRIPT, *LONG], cwd=folder, env=variables, stderr=subprocess.PIPE, text=True
    )


def status(folder: Path) -> dict[str, object]:
    facts: dict[str, object] = json.loads((folder / "outputs/slurm_7/run.json").read_text())
    return facts


def test_the_job_saves_is_requeued_and_continues_to_its_end(tmp_path: Path) -> None:
    first = submitted(tmp_path)
    wait_for(tmp_path / "outputs/slurm_7/checkpoints/last.safetensors", first)
    first.send_signal(signal.SIGUSR1)
    _, errors = finished(first)

    assert first.returncode != 0
    assert "everything is saved" in errors
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 7\n"
    assert status(tmp_path)["status"] == "interrupted"

    second = submitted(tmp_path)
    _, errors = finished(second)
    assert second.returncode == 0, errors
    assert status(tmp_path)["status"] == "done"
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 7\n"


def test_a_cancelled_job_is_not_requeued(tmp_path: Path) -> None:
    job = submitted(tmp_path)
    wait_for(tmp_path / "outputs/slurm_7/checkpoints/last.safetensors", job)
    job.terminate()
    finished(job)

    assert job.returncode != 0
    assert status(tmp_path)["status"] == "interrupted"
    assert not (tmp_path / "scontrol.txt").exists()
