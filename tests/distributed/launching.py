"""Start several processes as a user does: with torchrun, on this machine alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKER = str(ROOT / "tests" / "distributed" / "worker.py")
CASES = ("lenet5", "lenet5 in parts", "lenet5 weighted", "lenet5 hybrid", "lenet5 (8, 3)")
"""Of the worker: those that the tests without `slow` share."""

PLUGIN = [
    "--config-dir",
    str(ROOT / "tests" / "distributed" / "configs"),
    "plugins=[tests.distributed.faulty_model]",
]
TIMEOUT_SECONDS = 120.0
"""Longer than any step takes on a busy machine."""

SETTINGS = [
    "train",
    *PLUGIN,
    "model=faulty",
    "experiment=debug",
    "dataset=synthetic",
    "dataset.num_train=96",
    "dataset.num_validation=17",
    "dataset.num_test=61",
    "logging.report=false",
    "logging.tensorboard=false",
    "logging.images_every_epochs=null",
    "saving.every_steps=1",
    f"distributed.timeout_seconds={TIMEOUT_SECONDS}",
]
"""Six updates of a small network that can be made to fail, each saved."""

LOOPBACK_FLAGS = (
    "--rdzv-backend=c10d",
    "--rdzv-conf=store_type=file",
    "--rdzv-endpoint=meeting",
)
"""With these and a variable torchrun itself listens on no port."""


def torchrun(
    *words: str,
    folder: Path,
    num_processes: int = 2,
    flags: tuple[str, ...] = ("--standalone",),
    **variables: str,
) -> subprocess.Popen[str]:
    """Start `python <words>` in several processes; one thread each."""
    if flags == LOOPBACK_FLAGS:
        variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    command = [sys.executable, "-m", "torch.distributed.run", *flags]
    command += [f"--nproc-per-node={num_processes}", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return output and errors of a process that ends; leave none that a failing test waits for."""
    with process:
        try:
            return process.communicate()
        except BaseException:
            process.kill()
            raise


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a running process has made a file."""
    while not path.exists():
        assert process.poll() is None, finished(process)
        time.sleep(0.1)


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of a process that finds the tests' modules, with one thread."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **variables}


def in_one_process(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without torchrun."""
    return subprocess.run(
        [sys.executable, "-m", "cnnlab", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
