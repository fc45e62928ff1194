"""Settings of an experiment beside a choice that is typed: what the choice lacks gives way."""

import functools
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli import main
from cnnlab.command import composing, line
from cnnlab.command.giving_way import give_way
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from tests.test_config import SHAPES

EXPERIMENTS = choices.choices("experiment")
TRAIN = VERBS["train"]


def own_sections(experiment: str) -> dict[str, Any]:
    """Return what an experiment itself sets, section by section."""
    plain = choices.read(choices.configs_folder() / "experiment" / f"{experiment}.yaml")
    return {key: value for key, value in plain.items() if isinstance(value, dict)}


@functools.cache
def defaults(group: str) -> dict[str, dict[str, Any]]:
    """Return the settings of each choice of a group that one can train with."""
    names = set(choices.choices(group)) - {"checkpoint"}
    return {name: choices.alone(group, name) for name in names}


def test_every_choice_of_every_group_can_be_typed_beside_every_experiment() -> None:
    for experiment in EXPERIMENTS:
        own = own_sections(experiment)
        for group in own.keys() & SHAPES.keys():
            own[group].pop("recipe", None)
            for choice, usual in defaults(group).items():
                plain = {group: usual | own[group]}
                said = give_way(TRAIN, plain, [f"experiment={experiment}", f"{group}={choice}"])

                assert set(plain[group]) == set(usual), (experiment, group, choice)
                kept = own[group].keys() & usual.keys()
                assert all(plain[group][key] == own[group][key] for key in kept)
                assert bool(said) == (own[group].keys() > kept)


def checked(*words: str) -> Any:
    return composing.check(line.read("train", list(words)))[0].config


def range_test_of(experiment: str) -> Any:
    config = checked(f"experiment={experiment}", "schedule=range_test")
    assert config.schedule.is_trial
    assert config.ensemble.members == 1
    assert not any(group.at_epochs for group in config.optimizer.groups)
    return config


def test_a_range_test_takes_the_place_of_every_schedule_of_an_experiment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trial = range_test_of("cifar_13pct_cifar10")
    own = checked("experiment=cifar_13pct_cifar10")

    assert capsys.readouterr().err.splitlines() == [
        "cnnlab: schedule=range_test replaces settings of experiment=cifar_13pct_cifar10: "
        "schedule.at_epochs, schedule.fractions, the schedules of optimizer.groups"
    ]
    assert [group.described for group in trial.optimizer.groups] == ["the weights of conv1, conv2"]
    assert (trial.model, trial.dataset, trial.trainer) == (own.model, own.dataset, own.trainer)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_takes_a_range_test(experiment: str) -> None:
    range_test_of(experiment)


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["schedule=range_test", "schedule.fractions=[1]"], "schedule 'range_test' has no setting"),
        (["schedule=range_test", "ensemble.members=5"], "ensemble.members has no effect"),
    ],
)
def test_what_is_typed_never_gives_way(
    words: list[str], refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "experiment=cifar_13pct_cifar10", *words]) == 2
    assert refused in capsys.readouterr().err


def test_an_experiment_with_a_slip_is_refused_beside_any_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment").mkdir()
    mine = "# @package _global_\nschedule: {peak_fraction: 0.2, paek: 1}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(mine)

    assert main(["train", "experiment=mine", "schedule=step"]) == 2
    assert "'schedule.paek' is not a setting of cnnlab" in capsys.readouterr().err
