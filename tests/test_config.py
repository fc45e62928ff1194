"""YAML and dataclasses say the same, and every composition that is shipped can be used."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from cnnlab import config
from cnnlab.command.composing import settle
from cnnlab.command.verbs import VERBS
from cnnlab.config import choices
from cnnlab.config.keys import walk
from cnnlab.config.schema import parse, shapes_of
from cnnlab.errors import UsageError

GROUPS: dict[str, Any] = {
    "model": config.ModelConfig,
    "dataset": config.DatasetConfig | config.StoredDatasetConfig,
    "augment": config.AugmentConfig,
    "optimizer": config.OptimizerConfig,
    "schedule": config.ScheduleConfig,
    "evaluation": config.EvaluationConfig,
}
SHAPES = {group: shapes_of(hint) or {} for group, hint in GROUPS.items()}
CONFIGS = choices.configs_folder()
EXPERIMENTS = choices.choices("experiment")


@functools.cache
def unresolved(verb: str, *overrides: str) -> DictConfig:
    """Return what Hydra makes of a line; it is shared, so nobody changes it."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(verb, list(overrides))


def composed(verb: str, *overrides: str) -> dict[str, Any]:
    return settle(unresolved(verb, *overrides))


@pytest.mark.parametrize("group", SHAPES)
def test_a_group_has_a_file_for_each_name_of_its_table(group: str) -> None:
    names = {choices.alone(group, choice)["name"] for choice in choices.choices(group)}

    assert names == set(SHAPES[group])


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, choice) for group in SHAPES for choice in choices.choices(group)],
)
def test_a_choice_lists_every_key_of_its_dataclass(group: str, choice: str) -> None:
    plain = choices.alone(group, choice)

    keys = {key.name for key in walk(SHAPES[group][plain["name"]])}

    assert set(plain) == keys


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_yaml_names_code_but_the_sweep_table(path: Path) -> None:
    targets = re.findall(r"_target_:\s*(\S+)", path.read_text())

    assert targets in ([], ["cnnlab.command.sweeps.SweepTable"])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_checks(experiment: str) -> None:
    typed = config.parse_train(composed("train", f"experiment={experiment}"))

    assert config.parse_train(config.to_plain(typed)) == typed


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_has_a_header(experiment: str) -> None:
    lines = choices.header(CONFIGS / "experiment" / f"{experiment}.yaml")
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)

    assert f"experiment={experiment}" in facts["command"]
    assert {"source", "published", "measured"} <= set(facts)
    if not facts["measured"].startswith("none"):
        assert re.match(r"\d{4}-\d{2}-\d{2}", facts["measured"])


@pytest.mark.parametrize("group", ["model", "dataset", "augment", "optimizer", "schedule"])
def test_every_choice_of_training_checks(group: str) -> None:
    for choice in set(choices.choices(group)) - {"checkpoint"}:
        assert config.parse_train(composed("train", f"{group}={choice}")).seed == 0


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"train"}))
def test_the_other_commands_compose(verb: str) -> None:
    plain = composed(verb)
    lists = ("checkpoint", "runs", "images")
    required: dict[str, Any] = {key: ["x"] for key in lists if plain.get(key) == []}
    if verb == "copy":
        required = {"choice": "experiment=quickstart", "output": "mine.yaml"}

    assert VERBS[verb].parse({**plain, **required})


def test_a_missing_key_is_named() -> None:
    plain = composed("train")
    del plain["trainer"]["epochs"]

    with pytest.raises(UsageError, match=r"'trainer\.epochs' is missing"):
        config.parse_train(plain)


def test_a_run_older_than_fine_tuning_and_compiling_can_be_continued() -> None:
    plain = composed("train")
    for key in ("weights", "replace_head", "train_layers"):
        del plain["model"][key]
    del plain["runtime"]["compile"]

    assert config.parse_train(config.of_earlier_run(plain)) == config.parse_train(composed("train"))


def test_a_stored_config_of_another_model_is_refused() -> None:
    plain = composed("train")
    plain["model"]["name"] = "resnet"

    with pytest.raises(UsageError, match=r"model.name must be one of .*, got 'resnet'"):
        config.parse_train(plain)


@pytest.mark.parametrize("value", [True, "1", 1.5, None, [1], {}, float("nan")])
def test_a_count_is_a_whole_number(value: object) -> None:
    plain = composed("train")
    plain["trainer"]["epochs"] = value

    with pytest.raises(UsageError, match=r"trainer.epochs must be"):
        config.parse_train(plain)


def test_a_number_that_is_not_finite_is_refused() -> None:
    plain = composed("train")
    plain["optimizer"]["learning_rate"] = float("inf")

    with pytest.raises(UsageError, match=r"optimizer.learning_rate must be a number above 0"):
        config.parse_train(plain)


def test_stored_values_stay_where_the_command_says_nothing() -> None:
    stored = parse(config.DatasetConfig, choices.alone("dataset", "mnist"), "")
    plain = choices.alone("dataset", "checkpoint")

    silent = parse(config.StoredDatasetConfig, plain)
    elsewhere = parse(config.StoredDatasetConfig, {**plain, "root": "/else"})

    assert silent.applied_to(stored) == stored
    assert elsewhere.applied_to(stored) == dataclasses.replace(stored, root="/else")


@pytest.mark.parametrize("asked", [{"root": "/else"}, {"download": True}, {"on_bad": "skip"}])
def test_a_setting_that_the_stored_set_does_not_have_is_refused(asked: dict) -> None:
    stored = parse(config.DatasetConfig, choices.alone("dataset", "mnist5k"), "")
    plain = choices.alone("dataset", "checkpoint")

    with pytest.raises(UsageError, match=rf"'mnist5k'.* has no setting '{next(iter(asked))}'"):
        parse(config.StoredDatasetConfig, {**plain, **asked}).applied_to(stored)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("benchmark", []),
        ("evaluate", ["checkpoint=[x]"]),
        ("predict", ["checkpoint=[x]", "images=[y]"]),
        ("visualize", ["checkpoint=x"]),
    ],
)
def test_only_training_is_profiled_and_only_its_step_compiled(verb: str, words: list[str]) -> None:
    parse_verb = getattr(config, f"parse_{verb}")
    with pytest.raises(UsageError, match="traces steps of training"):
        parse_verb(composed(verb, "runtime.profile=true", *words))
    compiling = composed(verb, "runtime.compile=true", *words)
    if verb == "benchmark":  # which measures that step
        assert parse_verb(compiling).runtime.compile
        return
    with pytest.raises(UsageError, match="compiles the step of training"):
        parse_verb(compiling)
