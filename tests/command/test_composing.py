"""Jobs of a sweep, and the config of a resumed run."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from cnnlab import config
from cnnlab.cli import main
from cnnlab.command import composing, line
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.errors import UsageError


def overrides_of(*words: str) -> list[list[str]]:
    return composing.jobs(line.read("train", [*words, "-m"]))


def test_a_sweep_is_the_product_of_its_axes() -> None:
    assert overrides_of("seed=0,1", "model=linear,mlp") == [
        ["++seed=0", "model=linear"],
        ["++seed=0", "model=mlp"],
        ["++seed=1", "model=linear"],
        ["++seed=1", "model=mlp"],
    ]


def test_a_large_sweep_has_each_value_checked_once() -> None:
    jobs = overrides_of("seed=range(0,200)", "trainer.epochs=1,2")

    assert len(jobs) == 202
    assert {word for job in jobs for word in job} >= {"++seed=199", "++trainer.epochs=2"}


def test_both_ends_of_a_continuous_sweep_are_checked_and_the_rest_left_to_its_sweeper() -> None:
    assert overrides_of("optimizer.learning_rate=interval(0.1,0.5)", "seed=3") == [
        [f"++optimizer.learning_rate={end}", "++seed=3"] for end in (0.1, 0.5)
    ]


def test_settings_of_a_launcher_are_left_to_hydra_which_loads_it() -> None:
    words = ["-m", "seed=0,1", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    composing.check(line.read("train", words))


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a run of AlexNet that stands in outputs/, as far as its config."""
    monkeypatch.chdir(tmp_path)
    values, _ = composing.preview(line.read("train", ["model=alexnet"]))
    folder = tmp_path / "outputs" / "2026-01-01" / "00-00-00_alexnet_mnist5k"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


def resumed(*words: str) -> Any:
    request = line.read("train", list(words))
    with composing.initialize_config_dir(str(choices.configs_folder()), version_base="1.3"):
        composed = composing.compose("train", request.overrides)
    return composing.parse(composing.VERBS["train"], composed, request.overrides)


def test_resuming_takes_the_runs_config_and_this_lines_settings(run_folder: Path) -> None:
    typed = resumed(f"resume={run_folder}", "trainer.epochs=99", "model.dropout=0.25")

    assert isinstance(typed, config.TrainConfig)
    assert (typed.model.name, typed.trainer.epochs) == ("alexnet", 99)
    assert typed.model.dropout == 0.25
    assert typed.trainer.batch_size == 64
    assert typed.resume == str(run_folder)


def test_latest_is_the_newest_run(run_folder: Path) -> None:
    found = resumed("resume=latest").resume

    assert Path(found).resolve() == run_folder


def test_a_group_cannot_be_chosen_when_resuming(run_folder: Path) -> None:
    with pytest.raises(UsageError, match="model=linear cannot be chosen when resuming"):
        resumed(f"resume={run_folder}", "model=linear")


def test_a_strangers_config_is_not_resolved(run_folder: Path) -> None:
    path = run_folder / "config.yaml"
    path.write_text(path.read_text().replace("name: mnist5k", "name: ${oc.env:HOME}"))

    with pytest.raises(UsageError, match=r"got '\$\{oc\.env:HOME\}'"):
        resumed(f"resume={run_folder}")


def test_a_bad_value_is_refused_on_resume_too(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"resume={run_folder}", "trainer.epochs=0"]) == 2
    assert "got 0" in capsys.readouterr().err


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what Hydra composes, and what we parse for `cnnlab list`."""
    found: Counter[str] = Counter()
    load, verb = ConfigLoaderImpl._load_configuration_impl, VERBS["list"]

    def counting_load(*arguments: Any, **keywords: Any) -> Any:
        found["composed"] += 1
        return load(*arguments, **keywords)

    def counting_parse(plain: dict[str, Any]) -> Any:
        found["parsed"] += 1
        return verb.parse(plain)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counting_load)
    monkeypatch.setitem(VERBS, "list", dataclasses.replace(verb, parse=counting_parse))
    return found


def test_a_single_job_is_composed_once_and_parsed_once(
    counted: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "models"]) == 0
    assert counted == {"composed": 1, "parsed": 1}

    counted.clear()
    assert main(["list", "--help"]) == 0
    assert counted == {"composed": 1}


@pytest.mark.parametrize("where", ["word", "yaml"])
def test_what_is_asked_of_hydra_itself_is_done_around_the_job(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = "tests.command.tasks:remember_environment"
    monkeypatch.setitem(VERBS, "train", dataclasses.replace(VERBS["train"], task=task))
    words = ["+hydra.job.env_set.MARK=seen"]
    if where == "yaml":
        Path("mine/experiment").mkdir(parents=True)
        text = "# @package _global_\nhydra:\n  job:\n    env_set:\n      MARK: seen\n"
        Path("mine/experiment/marked.yaml").write_text(text)
        words = ["--config-dir", "mine", "experiment=marked"]

    assert main(["train", *words]) == 3  # the task's own exit code
    assert Path("mark").read_text() == "seen"
