"""A process that dies, raises or hangs ends the job soon and is named; the run can be resumed."""

import json
import time
from pathlib import Path

import pytest

from cnnlab import checkpoint
from tests.distributed.launching import (
    LOOPBACK_FLAGS,
    PLUGIN,
    SETTINGS,
    finished,
    in_one_process,
    torchrun,
    wait_for,
)
from tests.distributed.test_commands import check_same_weights, last_of

pytestmark = pytest.mark.slow
RESTART_FLAGS = ("--standalone", "--max-restarts=1")


def trained(
    folder: Path, fault: str, flags: tuple[str, ...] = ("--standalone",), *words: str
) -> tuple[int, str]:
    """Train in two processes; return exit code and what was said."""
    words = ("-m", "cnnlab", *SETTINGS, "hydra.run.dir=run", *words)
    process = torchrun(*words, folder=folder, flags=flags, FAULT=fault)
    output, errors = finished(process)
    return process.returncode, output + errors


@pytest.mark.parametrize("scheme", ["data", "hybrid"])
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("kill", "killed"),
        ("raise", "RuntimeError: a fault on purpose"),
        ("memory", "out of memory"),
        ("hang", "no progress for 20 s"),
        ("freeze", "silent for 10 s"),
    ],
)
def test_a_lost_process_ends_the_job_and_is_named(
    how: str, cause: str, rank: int, scheme: str, tmp_path: Path, started: Path
) -> None:
    """By its cause: none is noticed by torch's own limit, which is an hour."""
    words = ["distributed.timeout_seconds=20"] if how in ("hang", "freeze") else []
    words.append(f"distributed.scheme={scheme}")
    code, errors = trained(tmp_path, f"{how} {rank} 4", ("--standalone",), *words)

    facts = json.loads((tmp_path / "run" / "error.json").read_text())
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert code != 0
    assert facts["rank"] == rank
    assert facts["cause"].startswith(cause)
    assert f"process {rank} of 2 was lost: {cause}" in errors
    assert (status["status"], f"process {rank} of 2" in status["error"]) == ("failed", True)
    assert checkpoint.read(tmp_path / "run" / "checkpoints" / "last.safetensors")
    resumed(tmp_path / "run", num_processes=1 + rank)
    check_same_weights(last_of(tmp_path / "run"), last_of(started / "alone"))


@pytest.mark.parametrize("scheme", ["data", "hybrid"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_restart_by_torchrun_continues_the_run(
    rank: int, scheme: str, tmp_path: Path, started: Path
) -> None:
    words = f"distributed.scheme={scheme}"
    code, said = trained(tmp_path, f"kill {rank} 4", RESTART_FLAGS, words)

    assert code == 0, said
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (status["status"], [entry["step"] for entry in status["resumed"]]) == ("done", [3])
    assert not (tmp_path / "run" / "error.json").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]
    check_same_weights(last_of(tmp_path / "run"), last_of(started / "alone"))


def test_a_restart_finds_its_run_under_outputs(tmp_path: Path) -> None:
    words = ["-m", "cnnlab", *SETTINGS]
    process = torchrun(*words, folder=tmp_path, flags=RESTART_FLAGS, FAULT="kill 1 4")
    _, errors = finished(process)

    assert process.returncode == 0, errors
    runs = list((tmp_path / "outputs").glob("*/*/run.json"))
    assert [json.loads(run.read_text())["status"] for run in runs] == ["done"]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["kill", "raise"])
def test_the_first_process_may_hold_the_store(how: str, rank: int, tmp_path: Path) -> None:
    """torchrun then listens on no port; what a process says before it goes is told all the same."""
    code, said = trained(tmp_path, f"{how} {rank} 4", LOOPBACK_FLAGS)

    facts = json.loads((tmp_path / "run" / "error.json").read_text())
    assert code != 0
    cause = "killed" if how == "kill" else "RuntimeError: a fault on purpose"
    assert (facts["rank"], facts["cause"]) == (rank, cause)
    assert f"process {rank} of 2 was lost: {cause}" in said


def test_a_job_outlives_its_launcher_for_seconds_only(tmp_path: Path) -> None:
    words = ["-m", "cnnlab", *SETTINGS, "hydra.run.dir=run", "trainer.epochs=100000"]
    process = torchrun(*words, folder=tmp_path)
    wait_for(tmp_path / "run" / "checkpoints" / "last.safetensors", process)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    process.kill()
    finished(process)  # when the processes that it leaves close its pipes as well
    while Path(f"/proc/{facts['pid']}").exists():
        time.sleep(0.1)

    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (status["status"], "is gone" in status["error"]) == ("failed", True)


def resumed(run: Path, num_processes: int) -> None:
    """Resume the run to its end."""
    words = ["train", f"resume={run}", *PLUGIN]
    if num_processes > 1:
        process = torchrun("-m", "cnnlab", *words, folder=run.parent, num_processes=num_processes)
        output, errors = finished(process)
        code = process.returncode
    else:
        done = in_one_process(*words, folder=run.parent)
        code, output, errors = done.returncode, done.stdout, done.stderr
    assert code == 0, errors
    assert ("not bit-identically" in output) == (num_processes == 1)
