"""Ensembles as a person starts them: by the command line, in processes of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cnnlab import checkpoint
from cnnlab.cli import main
from cnnlab.trainer.ensemble import member_overrides
from cnnlab.trainer.member_processes import MemberProcesses, epochs_of, failure
from tests.app.test_evaluate import config_for, measured

LEAN = ["logging.report=false", "logging.tensorboard=false", "runtime.device=cpu"]
SHORT = [*LEAN, "trainer.epochs=2", "trainer.limit_train_batches=3"]
LONG_ENOUGH_TO_STOP = [*LEAN, "trainer.epochs=20", "trainer.limit_train_batches=12"]


def start(*words: str, cwd: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "cnnlab", *words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate()
    assert process.returncode == code, err
    return out + err


def assert_same_network(a: Path, b: Path) -> None:
    first, second = (checkpoint.read(path / "checkpoints" / "last.safetensors") for path in (a, b))
    assert first.document["step"] == second.document["step"]
    names = [name for name in first.tensors if name.startswith(("model.", "optimizer."))]
    assert names
    for name in names:
        assert torch.equal(first.tensors[name], second.tensors[name]), name


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory) -> Path:
    """The folder of a trained ensemble of two; its members are processes of their own."""
    home = tmp_path_factory.mktemp("ensemble")
    with contextlib.chdir(home):
        assert main(["train", "ensemble.members=2", "hydra.run.dir=pair", *SHORT]) == 0
    return home / "pair"


def members_of(folder: Path) -> list[Path]:
    return [folder / "members" / name for name in ("00_seed0", "01_seed1")]


def test_a_member_equals_the_single_run_of_its_seed(ensemble, tmp_path):
    single = tmp_path / "single"
    words = ["train", "seed=1", "runtime.num_threads=1", f"hydra.run.dir={single}", *SHORT]
    with contextlib.chdir(tmp_path):
        assert main(words) == 0
    assert_same_network(members_of(ensemble)[1], single)


def test_members_differ(ensemble):
    with pytest.raises(AssertionError):
        assert_same_network(*members_of(ensemble))


def test_the_ensemble_ends_with_its_members_and_subsets(ensemble):
    log = (ensemble / "train.log").read_text()
    assert "2 members trained" in log
    assert "subsets" in log
    answer = json.loads((ensemble / "evaluation_test_center.json").read_text())
    assert [subset["size"] for subset in answer["subsets"]] == [1, 2]
    assert answer["subsets"][1]["mean_top1_error"] == answer["top1_error"]
    alone = [member["top1_error"] for member in answer["members"]]
    assert answer["subsets"][0]["mean_top1_error"] == pytest.approx(sum(alone) / 2)
    status = json.loads((ensemble / "run.json").read_text())
    assert (status["status"], status["test_error"]) == ("done", answer["top1_error"])


def test_a_finished_ensemble_is_evaluated_by_its_folder(ensemble):
    members = measured(config_for(ensemble)).members
    assert [member.checkpoint.split("/")[-3] for member in members] == ["00_seed0", "01_seed1"]


@pytest.mark.slow
def test_members_stopped_and_resumed_equal_single_runs_of_their_seeds(tmp_path):
    words = ["train", "ensemble.members=2", "hydra.run.dir=pair", *LONG_ENOUGH_TO_STOP]
    process = start(*words, cwd=tmp_path)
    members = members_of(tmp_path / "pair")
    while min(map(epochs_of, members)) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "continue with: cnnlab train resume=pair" in finish(process, 143)
    assert max(map(epochs_of, members)) < 20
    assert "ensembles by size" in finish(start("train", "resume=pair", cwd=tmp_path))
    single = ["train", "seed=1", "runtime.num_threads=1", "hydra.run.dir=single"]
    finish(start(*single, *LONG_ENOUGH_TO_STOP, cwd=tmp_path))
    assert_same_network(members[1], tmp_path / "single")


def test_a_failed_members_words_and_code_become_the_ensembles(tmp_path):
    error = failure(tmp_path / "01_seed1", 3, "cnnlab: no files\n  looked here\n  do this\n")
    assert error.exit_code == 3
    assert str(error).split("\n") == ["01_seed1: no files", "  looked here", "  do this"]
    silent = failure(tmp_path / "01_seed1", -9, "")
    assert silent.exit_code == 7
    assert "ended with code -9" in str(silent)


@pytest.mark.slow
def test_a_member_that_fails_ends_the_ensemble_with_its_code(tmp_path):
    process = start("train", "ensemble.members=2", "dataset=mnist", cwd=tmp_path)
    said = finish(process, 3)
    assert "00_seed0" in said or "01_seed1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("members", "left", "asked", "expected"),
    [(5, 5, None, 2), (5, 4, None, 2), (5, 3, None, 3), (4, 2, None, 2), (5, 3, 2, 2)],
)
def test_the_last_members_share_the_cores(tmp_path, members, left, asked, expected):
    config = SimpleNamespace(ensemble=SimpleNamespace(at_once=asked))
    processes = MemberProcesses([tmp_path] * members, config, None, [])
    processes.waiting = processes.waiting[:left]
    assert processes._room(2) == expected


def test_what_a_resuming_command_changes_reaches_the_members():
    given = ["resume=pair", "trainer.epochs=9", "ensemble.members=3", "hydra.run.dir=x"]
    assert member_overrides(given) == ["trainer.epochs=9"]
