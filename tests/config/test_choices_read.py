"""Every setting of every choice of a group is read by what builds that choice."""

from typing import Any

import pytest
import torch
from torch import nn

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.augment import AUGMENTS, AugmentConfig
from cnnlab.config.models import MODELS, ModelConfig
from cnnlab.config.schedules import SCHEDULES, ScheduleConfig
from cnnlab.config.schema import parse
from cnnlab.config.training import OPTIMIZERS, OptimizerConfig
from cnnlab.data.augment import build_augment
from cnnlab.data.store import StoredStatistics
from cnnlab.training import optimizers, schedules
from tests.command.recording import keys_of, record


def recorded(shape: type, group: str, name: str, **changes: Any) -> tuple[Any, set[str]]:
    config = parse(shape, choices.alone(group, name) | changes, group)
    read: set[str] = set()
    return record(config, read), read


def unread(config: Any, read: set[str]) -> set[str]:
    return keys_of(config) - read - {"name"}


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_of_a_model_is_read(name: str) -> None:
    changes = {"devices": ["cpu", "cpu"]} if name == "alexnet_two_gpu" else {}
    config, read = recorded(ModelConfig, "model", name, **changes)
    channels, size, classes = MODELS[name].usual_input
    task = {"in_channels": channels, "input_size_pixels": min(size, 64)}
    models.build(config, **task, num_classes=min(classes, 10), seed=0)
    config.training_loss  # noqa: B018 - read for the record
    assert unread(config, read) == set()


@pytest.mark.parametrize("name", AUGMENTS)
def test_every_setting_of_an_augmentation_is_read(name: str) -> None:
    config, read = recorded(AugmentConfig, "augment", name)
    one, mean_image = torch.ones(3), torch.full((8, 8, 3), 5.0)
    found = StoredStatistics(one, one, torch.eye(3), mean_image)
    build_augment(config, mirror_allowed=True, statistics=lambda: found)
    config.later  # noqa: B018 - read for the record
    assert unread(config, read) == set()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_of_an_update_rule_is_read(name: str) -> None:
    config, read = recorded(OptimizerConfig, "optimizer", name)
    optimizers.build(config, nn.Linear(3, 2))
    assert unread(config, read) <= {
        "num_curvature_images"
    }  # trainer/curvature.py: test_lenet5_1998.py


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_setting_of_a_schedule_is_read(name: str) -> None:
    config, read = recorded(ScheduleConfig, "schedule", name)
    schedule = schedules.build(config, 10, 200)
    for step in (0, 100, 199):
        schedule.rate_at(step)
    assert unread(config, read) == set()
