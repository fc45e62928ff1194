"""What a sweep shows of a job is what that very job recorded."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli import main
from cnnlab.intervals import interval
from cnnlab.run_folder import RunFolder

FAST = [
    "runtime.num_threads=1",
    "trainer.epochs=1",
    "trainer.limit_train_batches=1",
    "logging.report=false",
    "logging.tensorboard=false",
    "logging.images_every_epochs=null",
    "dataset.num_validation=100",
]
SWEPT = ["-m", "hydra.sweep.dir=swept"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results() -> list[dict[str, str]]:
    with open("swept/results.csv", newline="") as file:
        return list(csv.DictReader(file))


def status(folder: str) -> dict[str, Any]:
    facts = json.loads((Path(folder) / "run.json").read_text())
    assert isinstance(facts, dict)
    return facts


@pytest.mark.slow
def test_a_second_sweep_into_the_same_folder_shows_its_own_figures(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, *SWEPT, "model=mlp"]) == 0
    assert (
        main(["train", *FAST, *SWEPT, "model=linear,mlp", "hydra.sweep.subdir=${model.name}"]) == 0
    )

    shown = results()
    assert [row["run"] for row in shown] == ["swept/linear", "swept/mlp"]
    for row in shown:
        assert float(row["test_error"]) == status(row["run"])["test_error"]
    table = {line.split()[0]: line for line in capsys.readouterr().err.splitlines() if line}
    for row in shown:
        assert f"{float(row['test_error']):.2%}".replace("%", " %") in table[row["job"]]
    assert len(Path("swept/jobs.jsonl").read_text().splitlines()) == 3


def test_a_job_that_was_refused_shows_no_figures_and_is_not_done(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, *SWEPT, "model=linear"]) == 0
    capsys.readouterr()
    assert main(["train", *FAST, *SWEPT, "model=linear"]) == 8

    (row,) = results()
    assert (row["status"], row["exit_code"]) == ("failed", "8")
    assert (row["validation_error"], row["test_error"], row["run"]) == ("", "", "")
    assert "failed (8)" in capsys.readouterr().err


def test_a_resumed_run_is_shown_where_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time that is printed is that of run.json, of the whole run or of its continuation."""
    assert main(["train", *FAST, "model=linear", "hydra.run.dir=one"]) == 0
    assert f"total {RunFolder('one').seconds():.0f} s (test" in capsys.readouterr().out
    assert main(["train", "-m", "resume=one", "trainer.epochs=2", "hydra.sweep.dir=swept"]) == 0

    (row,) = results()
    assert row["run"] == "one"
    assert f"total {RunFolder('one').seconds():.0f} s (test" in capsys.readouterr().out
    assert float(row["test_error"]) == status("one")["test_error"]


def test_a_run_that_is_continued_no_longer_claims_its_earlier_result(here: Path) -> None:
    assert main(["train", *FAST, "model=linear", "hydra.run.dir=one"]) == 0
    before = status("one")["test_error"]
    huge = ["allow_changes=[optimizer.learning_rate]", "optimizer.learning_rate=1e30"]
    assert main(["train", "resume=one", "trainer.epochs=3", *huge]) == 5

    facts = status("one")
    assert facts["status"] == "failed"
    assert (facts["test_error"], facts["best_validation_error"]) == (None, None)
    assert facts["resumed"][0]["test_error_before"] == before


@pytest.mark.slow
def test_runs_of_a_sweep_are_listed_wherever_its_subdir_puts_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "model=linear", "hydra.sweep.subdir=${model.name}/${seed}/of ${dataset.name}"]
    assert main(["train", *FAST, *words]) == 0
    capsys.readouterr()

    assert main(["list", "runs"]) == 0
    assert "/linear/0/of mnist5k  done" in capsys.readouterr().out
    assert main(["evaluate", "checkpoint=latest", "runtime.num_threads=1"]) == 0


def test_a_sweep_folder_that_cannot_be_written_is_no_bug(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("swept/jobs.jsonl").mkdir(parents=True)

    assert main(["list", "-m", "what=models", "hydra.sweep.dir=swept"]) == 6
    assert "swept/jobs.jsonl" in capsys.readouterr().err


def test_lines_of_others_in_the_file_of_the_jobs_are_passed_over(here: Path) -> None:
    Path("swept").mkdir()
    Path("swept/jobs.jsonl").write_text("[" * 100_000 + '\n{"sweep": \n[1]\n')
    assert main(["list", "-m", "what=models", "hydra.sweep.dir=swept"]) == 0
    assert len(Path("swept/results.csv").read_text().splitlines()) == 2


def test_text_in_the_results_is_never_a_formula(here: Path) -> None:
    from cnnlab.safe_output import csv_cell

    assert [csv_cell(text) for text in ("=1+1", "+a", "-a", "@a", "\ta")] == [
        "'=1+1",
        "'+a",
        "'-a",
        "'@a",
        "'\\ta",
    ]
    assert [csv_cell(value) for value in (-1, -0.5, None, "a=b")] == [-1, -0.5, "", "a=b"]


def test_jobs_that_differ_in_their_seed_are_one_line_and_failed_ones_the_last(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third walk of a new user: rates and seeds to a table with intervals."""
    words = ["model=linear", "seed=0,1", "trainer.clip_gradient_norm=null"]
    rates = "optimizer.learning_rate=1e30,0.001,0.1"
    assert main(["train", *FAST, *SWEPT, *words, rates, "trainer.limit_train_batches=3"]) == 5

    out, err = capsys.readouterr()
    assert "try next" not in out
    assert err.count("try next:") == 1
    lines = err[err.index("job  ") :].splitlines()
    assert lines[0].split() == ["job", "overrides", "n", "validation", "test", "status"]
    assert [line.split()[1] for line in lines[1:3]] == [
        "optimizer.learning_rate=0.1", "optimizer.learning_rate=0.001",
    ]  # fmt: skip
    assert [line.split()[2] for line in lines[1:3]] == ["2", "2"]
    assert all(line.split()[-1] == "(5)" for line in lines[3:5])
    assert any(
        line.startswith("job 0: the loss or its gradient is not finite at step") for line in lines
    )

    of_best = [row for row in results() if "learning_rate=0.1" in row["overrides"]]
    found = interval([float(row["validation_error"]) for row in of_best])
    assert found.half_width is not None
    assert f"{100 * found.mean:.2f} ± {100 * found.half_width:.2f} %" in lines[1]
    with open("swept/groups.csv", newline="") as file:
        (best, *_) = csv.DictReader(file)
    assert float(best["validation_half_width"]) == pytest.approx(found.half_width)
    assert f"checkpoint={of_best[0]['run']}" in err


@pytest.mark.slow
def test_the_hints_below_a_sweep_work_as_printed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, *SWEPT, "model=linear", "seed=0,1"]) == 0
    hints = capsys.readouterr().err.partition("try next:\n")[2].splitlines()
    words = [shlex.split(hint) for hint in hints]
    assert [word[:2] for word in words] == [["cnnlab", "evaluate"], ["cnnlab", "compare"]]
    assert all(main(word[1:]) == 0 for word in words)
