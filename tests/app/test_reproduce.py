"""`cnnlab reproduce`: the whole machine on claims that are tiny, and the table that it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli import main
from scripts.torture.claims import kill_and_compare
from scripts.torture.command import call

CLAIM = """\
sentence: Eight updates are better than one
source: a test
published: "-"
published_mark: none
author_log: "-"
metric: test_error
statistic: difference
seeds: 3
differs_in: [trainer.epochs]
refuted_by: an interval below zero
laptop:
  words: [model=linear, dataset=mnist5k, augment=none, trainer.limit_train_batches=1]
  arms:
    - {name: short, factor: 1, words: [trainer.epochs=1]}
    - {name: long, factor: -1, words: [trainer.epochs=8]}
  images: 1728
  images_per_second: 1000
full:
  needs: nothing
"""
SEARCH = """\
  search: {key: optimizer.learning_rate, values: [1.0e-6, 0.1]}
"""
QUICK = ("runtime.device=cpu", "at_once=2")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a claim, beside which the command writes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "longer.yaml").write_text(CLAIM)
    return tmp_path


def document(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "reproduction.json").read_text())
    assert isinstance(found, dict)
    return found


def times_of(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("runs/*/run.json")}


def test_computed_and_unmeasured_claims_have_rows_and_the_exit_code_is_0(tmp_path: Path) -> None:
    names = "parameters_in_fc,receptive_fields,lecture_57_million,color_shift"
    outcome = call("reproduce", f"claims={names}", f"output={tmp_path}", "runtime.device=cpu")
    assert outcome.code == 0, outcome.errors

    rows = {row["name"]: row for row in document(tmp_path)["claims"]}
    verdicts = {name: row["verdict"] for name, row in rows.items()}
    assert verdicts.pop("color_shift") == "unmeasured: needs CIFAR-10 or ImageNet"
    assert list(verdicts.values()) == ["holds"] * 3
    assert rows["lecture_57_million"]["arms"][0]["figures"] == [57_409_444]

    assert "tests the direction of each claim, not the size" in outcome.output
    page = (tmp_path / "reproduction.html").read_text()
    assert "57,409,444" in page
    assert "unmeasured: needs CIFAR-10 or ImageNet" in page
    assert not (tmp_path / "runs").exists()


def test_json_alone_is_on_stdout(tmp_path: Path) -> None:
    words = ("claims=parameters_in_fc", f"output={tmp_path}", "format=json", "runtime.device=cpu")
    outcome = call("reproduce", *words)
    assert json.loads(outcome.output) == document(tmp_path)


def test_a_second_command_in_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnlab.run_folder.lock import RunLock

    lock = RunLock(tmp_path)
    words = ["reproduce", "claims=parameters_in_fc", f"output={tmp_path}", "runtime.device=cpu"]
    assert main(words) == 8
    lock.release()
    assert "output=FOLDER" in capsys.readouterr().err
    assert main(words) == 0


def test_one_claim_is_repeated_without_losing_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"output={tmp_path}", "runtime.device=cpu"]
    assert main(["reproduce", "claims=parameters_in_fc,parameters_2014", *words]) == 0
    before = document(tmp_path)
    assert main(["reproduce", "claims=parameters_2014", *words]) == 0
    after = document(tmp_path)
    assert without_call(after) == without_call(before)
    assert [row["call"]["time"] == before["time"] for row in after["claims"]] == [False, True]
    assert "with 1 row of earlier calls" in capsys.readouterr().out

    (tmp_path / "reproduction.json").write_text("{")
    assert main(["reproduce", "claims=parameters_2014", *words]) == 3
    assert "table of earlier calls is damaged" in capsys.readouterr().err


def test_a_claim_whose_metric_lacks_its_own_images_is_unmeasured(own: Path) -> None:
    strange = CLAIM.replace("metric: test_error", "metric: rejects_strangers")
    (own / "claims" / "longer.yaml").write_text(strange)
    (own / "empty").mkdir()
    words = ["reproduce", "claims_folder=claims", "fashion_mnist_root=empty", *QUICK]
    assert main([*words, "output=made"]) == 0
    (row,) = document(own / "made")["claims"]
    assert row["verdict"].startswith("unmeasured: needs fashion_mnist: ")
    assert not (own / "made" / "runs").exists()


@pytest.mark.slow
def test_finished_runs_are_not_repeated_and_the_row_says_what_was_compared(own: Path) -> None:
    words = ("reproduce", "claims_folder=claims", "output=made", *QUICK)
    assert call(*words).code == 0
    first, times = document(own / "made"), times_of(own / "made")
    assert len(times) == 6

    (row,) = first["claims"]
    short, long = row["arms"]
    pairs = [a - b for a, b in zip(short["figures"], long["figures"], strict=True)]
    assert row["difference"]["mean"] == pytest.approx(sum(pairs) / 3)
    assert row["difference"]["num_pairs"] == 3
    errors = [
        json.loads((Path(run) / "run.json").read_text())["test_error"] for run in long["runs"]
    ]
    assert errors == long["figures"]
    assert long["command"].startswith("cnnlab train model=linear dataset=mnist5k")

    assert call(*words).code == 0
    assert times_of(own / "made") == times
    assert without_call(document(own / "made")) == without_call(first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "alone"),
    [
        (signal.SIGKILL, False),
        (signal.SIGKILL, True),
        (signal.SIGTERM, True),
        (signal.SIGINT, True),
        (signal.SIGINT, False),
    ],
)
def test_a_stopped_command_is_continued_to_the_same_rows(
    own: Path, number: int, alone: bool
) -> None:
    """alone: the command gets the signal, its trainings do not; a terminal gives it to all."""
    words = ["reproduce", "claims_folder=claims", *QUICK]
    assert call(*words, "output=whole").code == 0

    command = [sys.executable, "-m", "cnnlab", *words, "output=stopped"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    wait_for_a_checkpoint(own / "stopped", process)
    os.kill(process.pid, number) if alone else os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "everything is saved" in said
        assert "continue with: cnnlab reproduce" in said

    # a command that was killed alone leaves trainings behind, which the next one waits for
    assert call(*words, "output=stopped").code == 0
    assert figures(own / "stopped") == figures(own / "whole")


@pytest.mark.slow
def test_three_claims_killed_at_random_give_the_same_rows(tmp_path: Path) -> None:
    """Real claims with few seeds; scripts/torture.sh kills them more often."""
    found = kill_and_compare(tmp_path, kills=2)
    assert found["equal_rows"] == found["claims"] == 3
    assert found["kills"] > 0


def wait_for_a_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    while not list(folder.glob("runs/*/checkpoints/step_*.safetensors")):
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.02)


def without_call(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, without when and with what they were measured."""
    return [{key: row[key] for key in row if key != "call"} for row in found["claims"]]


def figures(folder: Path) -> list[Any]:
    """What the rows say, without the folders."""
    return [
        (row["verdict"], row["difference"], [arm["figures"] for arm in row["arms"]])
        for row in document(folder)["claims"]
    ]


@pytest.mark.slow
def test_a_search_chooses_by_validation_error_with_a_seed_of_its_own(own: Path) -> None:
    (own / "claims" / "longer.yaml").write_text(CLAIM.replace("  images:", f"{SEARCH}  images:"))
    assert call("reproduce", "claims_folder=claims", "output=made", *QUICK).code == 0

    (row,) = document(own / "made")["claims"]
    for arm in row["arms"]:
        tried = arm["searched"]
        assert set(tried) == {"1e-06", "0.1"}
        assert tried["0.1"] < tried["1e-06"]
        assert (arm["searched_by"], arm["searched_unit"]) == ("validation error", "percent")
        assert arm["chosen"] == "0.1"
        assert "optimizer.learning_rate=0.1" in arm["command"]
        assert all("seed1000" not in run for run in arm["runs"])
    assert len(list(own.glob("made/runs/*seed1000*"))) == 4


@pytest.mark.slow
def test_a_run_that_fails_leaves_its_claim_unmeasured_and_its_exit_code(own: Path) -> None:
    diverging = "schedule=constant, trainer.clip_gradient_norm=null, optimizer.learning_rate=1e38"
    worse = CLAIM.replace("[trainer.epochs=8]", f"[trainer.epochs=4, {diverging}]")
    (own / "claims" / "worse.yaml").write_text(worse)
    outcome = call("reproduce", "claims_folder=claims", "output=made", *QUICK)
    assert outcome.code == 5
    verdicts = {row["name"]: row["verdict"] for row in document(own / "made")["claims"]}
    assert verdicts["longer"].startswith(("holds", "undecided"))
    assert verdicts["worse"].startswith("unmeasured: a run failed")
