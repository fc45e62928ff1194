"""`cnnlab VERB --help` shows what a run with the words beside it would use."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cnnlab.cli import main
from cnnlab.command import composing, line
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.config.recipes import READ_BY
from tests.golden.experiments import composed


def shown(page: str) -> dict[str, str]:
    """Return the first word of each setting's value, by its key."""
    lines = begun(page.partition("settings (")[2].partition("everywhere:")[0])
    return {words[0]: words[1] for words in map(str.split, lines) if len(words) > 1}


def in_use(page: str) -> dict[str, str]:
    """Return the choice in use of each group: the first of its line."""
    lines = begun(page.partition("groups (")[2].partition("settings (")[0])
    return {words[0]: words[1] for words in map(str.split, lines) if words}


def begun(part: str) -> list[str]:
    """Return the lines of a part of the page that go on with none before them."""
    return [line for line in part.splitlines() if line.startswith("  ") and line[2:3].strip()]


def test_an_experiments_values_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "experiment=alexnet_2012_source", "--help"]) == 0

    page = capsys.readouterr().out
    held = composed("alexnet_2012_source")
    assert shown(page)["optimizer.bias_rate_factor"] == "2.0"
    assert shown(page)["model.initialization"] == '"source"'
    assert shown(page)["trainer.epochs"] == "91"
    groups = ("model", "dataset", "augment", "optimizer", "schedule", "evaluation")
    assert {key: in_use(page)[key] for key in groups} == {key: held[key]["name"] for key in groups}
    assert in_use(page)["experiment"] == "alexnet_2012_source"


def test_a_typed_value_is_shown_and_what_follows_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["train", "--help", "model=alexnet", "model.geometry=227", "trainer.epochs=7"])

    values = shown(capsys.readouterr().out)
    assert values["trainer.epochs"] == "7"
    assert values["dataset.image_size_pixels"] == "67"


@pytest.mark.parametrize("model", choices.choices("model"))
def test_defaults_that_follow_from_the_model_are_shown(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", f"model={model}", "-h"])

    values = shown(capsys.readouterr().out)
    assert not any("${" in value for value in values.values())
    assert values["optimizer.learning_rate"] != "-"
    assert set(READ_BY.values()) <= set(values)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["lr=0.1"], "did you mean 'optimizer.learning_rate'?"),
        (["model=lenet6"], "did you mean 'lenet5'?"),
        (["seed=${nowhere}"], "'nowhere' not found"),
        (["resume=no/such/run"], "no such run folder"),
    ],
    ids=" ".join,
)
def test_beside_a_bad_word_the_defaults_are_shown_and_what_is_wrong(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, "--help"]) == 2

    output = capsys.readouterr()
    assert complaint in output.err
    assert main(["train", "--help"]) == 0
    assert capsys.readouterr().out == output.out


def test_beside_resume_the_runs_values_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values, _ = composing.preview(line.read("train", ["model=mlp", "trainer.epochs=77"]))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(values))

    assert main(["train", f"resume={run}", "trainer.batch_size=5", "--help"]) == 0

    page = capsys.readouterr().out
    assert in_use(page)["model"] == "mlp"
    assert (shown(page)["trainer.epochs"], shown(page)["trainer.batch_size"]) == ("77", "5")


def test_own_choices_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 42\n")

    assert main(["train", "--config-dir", str(tmp_path), "experiment=mine", "--help"]) == 0

    page = capsys.readouterr().out
    assert in_use(page)["experiment"] == "mine"
    assert shown(page)["seed"] == "42"


def test_a_sweep_shows_its_first_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=3,4", "model=mlp,lenet5", "--help"]) == 0

    page = capsys.readouterr().out
    assert (in_use(page)["model"], shown(page)["seed"]) == ("mlp", "3")


def test_printed_settings_are_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "model=alexnet", "--cfg", "job"]) == 0

    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["dataset"]["image_size_pixels"] == 64
    assert type(printed["optimizer"]["learning_rate"]) is float


def test_the_overview_needs_no_hydra() -> None:
    program = "import sys; from cnnlab.cli import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert not {"hydra", "omegaconf", "torch"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_page_fits_a_hundred_columns(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 100
    assert page.count("\n  ") > 3
    assert main(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_long_value_and_what_is_said_of_it_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "model=alexnet_two_gpu", "--help"]) == 0
    page = capsys.readouterr().out
    assert "  model.devices" in page
    assert '["cuda:0", "cuda:1"]\n' in page
