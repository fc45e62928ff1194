"""`hydra/sweeper=optuna`: a search that is kept, continues, and chooses by validation alone."""

import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnlab.cli import main

INSTALLED = importlib.util.find_spec("optuna") is not None
LACKING = 'the extra "search" is not installed: pip install -e ".[search]"'


def needs_optuna(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that runs Optuna: slow, skipped where it is missing; SQLAlchemy 1.4 warns."""
    marks = (
        pytest.mark.slow,
        pytest.mark.skipif(not INSTALLED, reason=LACKING),
        pytest.mark.filterwarnings("ignore"),
    )
    for mark in marks:
        test = mark(test)
    return test


SEARCH = ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=found"]
RATE = "optimizer.learning_rate=tag(log,interval(0.001,1.0))"
FAST = [
    *("model=linear", "runtime.num_threads=1", "logging.report=false", "logging.tensorboard=false"),
    *("logging.images_every_epochs=null", "logging.progress=false", "dataset.num_validation=100"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(INSTALLED, reason="the extra is installed here")
def test_without_the_extra_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", *SEARCH, RATE]) == 2
    assert capsys.readouterr().err == (
        "cnnlab: hydra/sweeper=optuna needs packages that are missing\n"
        '  in the folder of the clone: python -m pip install -e ".[search]"\n'
    )
    assert main(["train", "-m", "hydra/launcher=submitit_slurm", "seed=0,1"]) == 2
    assert '-e ".[slurm]"' in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["-m", "optimizer.learning_rate=interval(0.1,1)"],
            "add hydra/sweeper=optuna to search it",
        ),
        ([*SEARCH, "hydra.sweeper.params.seed=interval(0,9)"], "words of their own"),
        ([*SEARCH, "optimizer.learning_rate=interval(-1,1)"], "must be a number above 0"),
        ([*SEARCH, "trainer.epochs=int(interval(0,9))"], "at least 1"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not list(Path().iterdir())


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cnnlab", "train", *FAST, *SEARCH, RATE, *words]


def states() -> list[str]:
    """Return how the study has each trial, from its database as anyone would read it."""
    with sqlite3.connect("found/study.db") as database:
        return [state for (state,) in database.execute("SELECT state FROM trials ORDER BY number")]


def recorded() -> list[dict[str, object]]:
    lines = Path("found/jobs.jsonl").read_text().splitlines() if Path("found").is_dir() else []
    return [json.loads(line) for line in lines]


def stopped_in_the_second_trial(number: int, *words: str) -> tuple[int, str]:
    """Start a search, send a signal while its second trial trains, return code and stderr."""
    running = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    while not list(Path().glob("found/1_linear_mnist5k/checkpoints/step*")):
        assert running.poll() is None, running.stderr and running.stderr.read()
        time.sleep(0.05)
    os.kill(running.pid, number)
    _, complaints = running.communicate()
    return running.returncode, complaints


@needs_optuna
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_search_that_was_stopped_continues(number: int) -> None:
    words = ("trainer.epochs=30", "hydra.sweeper.n_trials=3")
    code, complaints = stopped_in_the_second_trial(number, *words)
    assert code == (130 if number == signal.SIGINT else -number)
    assert ("hydra.sweep.dir=found continues it" in complaints) == (number == signal.SIGINT)
    assert states() == ["COMPLETE", "RUNNING" if number == signal.SIGKILL else "FAIL"]
    (first,) = (row for row in recorded() if row["job"] == 0)
    started = json.loads(Path(str(first["run"]), "run.json").read_text())["started"]

    done = subprocess.run(command(*words), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    told = "; without a result: trial 1" if number == signal.SIGKILL else ""
    assert f"the search continues: 1 of 3 trials are done{told}\n" in done.stderr
    assert states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert json.loads(Path(str(first["run"]), "run.json").read_text())["started"] == started
    assert [row["job"] for row in recorded() if row["exit_code"] == 0] == [0, 2, 3]


@needs_optuna
def test_trials_are_told_their_validation_error_and_failed_ones_are_no_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With rates up to 1e30 and no clipping some trials diverge."""
    words = [
        *("trainer.epochs=1", "trainer.limit_train_batches=20", "model=mlp"),
        *("trainer.clip_gradient_norm=null", "hydra.sweeper.n_trials=8"),
        *("optimizer.learning_rate=tag(log,interval(0.01,1e30))", "hydra.sweeper.sampler.seed=1"),
    ]
    assert main(["train", *FAST, *SEARCH, *words]) == 0

    rows = {row["job"]: row for row in recorded()}
    assert {row["exit_code"] for row in rows.values()} == {0, 5}
    with sqlite3.connect("found/study.db") as database:
        told = dict(database.execute("SELECT number, value FROM trials NATURAL JOIN trial_values"))
    assert told == {n: row["validation_error"] for n, row in rows.items() if not row["exit_code"]}
    best = min(told.values())
    table = capfd.readouterr().err.partition("job ")[2].splitlines()
    assert f"{100 * best:.2f} %" in table[1]
    assert "failed (5)" in table[len(rows)]


@needs_optuna
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["dataset.num_validation=0"], "dataset.num_validation is 0"),
        (["ensemble.members=2"], "leave out ensemble.members"),
        (["schedule=range_test"], "schedule=range_test validates nothing"),
        (["hydra.sweeper.direction=maximize"], "direction=maximize"),
        (["schedule=constant"], "other settings\n  found: schedule=constant"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_has_no_validation_error_or_other_settings_is_refused(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnlab.command.study import Study

    Path("found").mkdir()
    fast = [word for word in FAST if not word.startswith("logging.report")]
    Study("sqlite:///found/study.db", "search", Path("found")).check_shared(fast)

    assert main(["train", *fast, *SEARCH, RATE, *words]) == 2
    assert complaint in capsys.readouterr().err
    assert states() == []


@needs_optuna
def test_a_second_search_in_the_same_folder_is_busy(capfd: pytest.CaptureFixture[str]) -> None:
    from cnnlab.run_folder.lock import RunLock

    Path("found").mkdir()
    held = RunLock(Path("found"))
    assert main(["train", *FAST, *SEARCH, RATE]) == 8
    held.release()
    assert "the study of this folder is being written by process" in capfd.readouterr().err
