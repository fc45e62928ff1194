"""The tables of choices: each row can be built, in its room, from the arguments of its group."""

import inspect
from typing import Any, get_type_hints

import pytest

from cnnlab.command.verbs import VERBS
from cnnlab.config import PICTURES, ModelChoice, TrainConfig
from cnnlab.config.claims import METRICS
from cnnlab.config.models import MODELS, LinearConfig
from cnnlab.config.pictures import PAGES
from cnnlab.config.tables import Table, load_by_name, table_of
from cnnlab.errors import UsageError

TABLES: dict[str, Table[Any]] = {
    table.group: table for hint in get_type_hints(TrainConfig).values() if (table := table_of(hint))
}
ROWS = [(group, name) for group, table in TABLES.items() for name in table]
BUILDERS = {
    "model": ("models", 3),
    "dataset": ("data", 1),
    "augment": ("data", 2),
    "optimizer": ("training", 2),
    "schedule": ("training", 3),
    "evaluation": ("evaluation", 3),
    "loss": ("training", 1),
    "writer": ("own_writers", 2),
}
"""Group -> the room of its builders, and how many arguments they take."""


def assert_takes(function: Any, num_arguments: int) -> None:
    assert callable(function)
    inspect.signature(function).bind(*range(num_arguments))


def test_every_group_is_looked_at() -> None:
    assert BUILDERS.keys() == TABLES.keys()


@pytest.mark.parametrize(("group", "name"), ROWS)
def test_a_builder_is_in_its_room_and_takes_what_its_group_gives(group: str, name: str) -> None:
    row, (room, num_arguments) = TABLES[group][name], BUILDERS[group]

    assert row.builder.partition(":")[0].split(".")[:2] == ["cnnlab", room]
    assert_takes(row.load(), num_arguments)


@pytest.mark.parametrize("name", MODELS)
def test_the_other_things_that_a_model_names_exist(name: str) -> None:
    row = MODELS[name]

    assert row.one_device is None or MODELS[row.one_device].one_device is None
    if row.curvature is not None:
        assert row.curvature.startswith("cnnlab.models.")
        assert_takes(load_by_name(row.curvature), 2)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_written_from_a_subject_into_a_folder(name: str) -> None:
    assert PAGES[name].draw.startswith("cnnlab.playground.")
    assert_takes(load_by_name(PAGES[name].draw), 2)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_from_a_network_and_a_probe(name: str) -> None:
    assert str(PICTURES[name].draw).startswith("cnnlab.visualization.")
    assert_takes(PICTURES[name].load(), 2)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_measured_of_an_arm_or_computed_of_settings(name: str) -> None:
    assert_takes(METRICS[name].load(), 1)


@pytest.mark.parametrize("name", VERBS)
def test_a_command_is_a_task_of_a_config_and_a_launch(name: str) -> None:
    assert VERBS[name].task == f"cnnlab.app.{name}:run"
    assert_takes(load_by_name(VERBS[name].task), 2)


def test_a_built_in_name_cannot_be_taken() -> None:
    """What else is refused: tests/test_extending.py."""
    with pytest.raises(UsageError, match="model 'lenet5' is built in"):
        MODELS.register("lenet5", ModelChoice(LinearConfig, "", (1, 8, 2)))
