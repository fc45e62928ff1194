"""Hydra's keys for folders mean what they mean in Hydra, and nothing empty is left."""

import json
from pathlib import Path

import pytest

from cnnlab.cli import main

FAST = [
    "experiment=debug",
    "runtime.num_threads=1",
    "trainer.epochs=1",
    "trainer.limit_train_batches=1",
    "logging.report=false",
    "logging.tensorboard=false",
    "model=linear",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folders_below(place: Path) -> set[str]:
    """Return every folder that holds a run, and every folder that holds nothing at all."""
    return {
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.is_dir() and ((path / "run.json").is_file() or not any(path.iterdir()))
    }


def test_the_folder_of_a_run_may_be_made_of_its_settings(here: Path) -> None:
    words = ["seed=5", "hydra.run.dir=kept here/${model.name}/${dataset.name} seed=${seed}"]

    assert main(["train", *FAST, *words]) == 0
    assert folders_below(here) == {"kept here/linear/mnist5k seed=5"}


def test_what_hydra_itself_knows_of_a_job_may_stand_in_its_folder(here: Path) -> None:
    words = ["seed=5", "hydra.run.dir=${hydra:job.name}-${hydra.job.name}-${now:%j}"]

    assert main(["train", *FAST, *words]) == 0
    (only,) = folders_below(here)
    assert only.startswith("cnnlab-cnnlab-")
    assert only.rpartition("-")[2].isdigit()


@pytest.mark.slow
def test_a_sweeps_subdir_is_the_folder_of_each_job(here: Path) -> None:
    words = ["-m", "seed=3,4", "hydra.sweep.dir=swept", "hydra.sweep.subdir=of ${seed}"]

    assert main(["train", *FAST, *words]) == 0
    assert folders_below(here) == {"swept/of 3", "swept/of 4"}
    recorded = [json.loads(line) for line in Path("swept/jobs.jsonl").read_text().splitlines()]
    assert [job["run"] for job in recorded] == ["swept/of 3", "swept/of 4"]


@pytest.mark.slow
def test_the_number_and_the_words_of_a_job_may_stand_in_its_folder(here: Path) -> None:
    subdir = "hydra.sweep.subdir=${hydra.job.num}/${hydra.job.override_dirname}"
    words = ["-m", "seed=3,4", "hydra.sweep.dir=swept", subdir]

    assert main(["train", *words, "hydra.job.config.override_dirname.exclude_keys=[]", *FAST]) == 0
    assert {path.split("/")[1] for path in folders_below(here)} == {"0", "1"}
    assert all("seed=" in path and "++" not in path for path in folders_below(here))


def test_folders_named_in_a_yaml_file_of_ones_own_count_too(here: Path) -> None:
    Path("mine/experiment").mkdir(parents=True)
    text = "# @package _global_\nseed: 9\nhydra:\n  run:\n    dir: runs/${seed}\n"
    Path("mine/experiment/nine.yaml").write_text(text)
    fast = [word for word in FAST if not word.startswith("experiment=")]
    words = ["--config-dir", "mine", "experiment=nine", "dataset.num_validation=0", *fast]

    assert main(["train", *words]) == 0
    assert folders_below(here) == {"runs/9"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hydra.run.dir=${model.nmae}"], "nmae"),
        (["-m", "seed=1,2", "hydra.run.dir=x"], "hydra.sweep.dir=X holds them all"),
        (["-m", "seed=1,2", "hydra.sweep.dir=x/${seed}"], "one folder for all jobs"),
        (["-m", "seed=1,2", "hydra.sweep.subdir=${sead}"], "sead"),
        (["hydra.sweep.dir=x"], "is for sweeps"),
        (["hydra.sweep.subdir=x"], "is for sweeps"),
        (["hydra.job.chdir=true"], "relative paths"),
        (["hydra.output_subdir=.hydra"], "config.yaml of the run folder"),
        (["hydra.mode=MULTIRUN"], "add -m"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_folder_that_cannot_be_meant_is_refused_and_nothing_is_left(
    words: list[str], expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, *words]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert len(said.splitlines()) <= 3
    assert not any(here.iterdir())


def test_a_run_that_torchrun_may_start_again_has_a_folder_without_a_time(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["train", *FAST, "hydra.run.dir=runs/${now:%H}"]) == 2
    assert "contains a time" in capsys.readouterr().err
    assert not any(here.iterdir())


@pytest.mark.parametrize("verb", ["evaluate", "predict", "visualize", "summary", "list"])
def test_a_command_that_makes_no_run_refuses_a_run_folder(
    verb: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "hydra.run.dir=x"]) == 2
    assert "creates no run folder" in capsys.readouterr().err
    assert not any(here.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.run.dir=other"],
        ["-m", "hydra.sweep.dir=swept", "hydra.sweep.subdir=${seed}", "trainer.epochs=2,3"],
    ],
    ids=lambda words: words[-1],
)
def test_a_resumed_run_refuses_another_folder_than_its_own(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *FAST, "hydra.run.dir=run"]) == 0
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    capsys.readouterr()

    assert main(["train", "resume=run", *words]) == 2

    key = "hydra.run.dir" if words[0] != "-m" else "hydra.sweep.subdir"
    said = capsys.readouterr().err
    assert f"{key} has no effect with resume" in said
    assert len(said.splitlines()) == 3
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.slow
def test_jobs_that_resume_may_share_the_folder_of_their_sweep(here: Path) -> None:
    assert main(["train", *FAST, "hydra.run.dir=run"]) == 0
    words = ["-m", "hydra.sweep.dir=swept", "trainer.epochs=2,3"]

    assert main(["train", "resume=run", *words]) == 0
    assert len(Path("swept/jobs.jsonl").read_text().splitlines()) == 2
