"""Settings of `cnnlab train` without Hydra, which a bare machine lacks, and the cases of a day.

The YAML files under configs/ are read as they are; what a model's recipe would choose is left at
the value after the comma, and given here where it matters.
"""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab import runtime
from cnnlab.config import TrainConfig, choices, parse_train
from cnnlab.runtime import select_device
from cnnlab.trainer.assemble import Assembly, assemble
from scripts.gpu_day import noise
from scripts.gpu_day.task import Task

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # its scripts import one another

Case = dict[str, Any]
"""Dotted keys of settings, and groups with their choices."""

DEFAULTS: Case = {
    "dataset": "synthetic",
    "augment": "none",
    "schedule": "constant",
    "dataset.num_validation": 0,
    "dataset.num_test": 256,
    "optimizer.learning_rate": 0.001,
    "trainer.epochs": 10**6,  # no epoch ends, and so nothing is saved, while something is timed
    "trainer.validate_every_epochs": 10**6,
    "saving.every_epochs": None,
    "logging.progress": False,
}
NOISE: Case = {"dataset.name": noise.NAME, "dataset.normalize": "lenet5_1998"}
"""Beside dataset=synthetic, whose images take longer to make than to train on. Normalized by
constants, which needs no pass over them."""

NARROW: Case = {"model.width": 0.125}


def train_settings(case: Case) -> TrainConfig:
    """Return the checked settings of a training. Raises UsageError as the command does."""
    if case.get("dataset.name") == noise.NAME:
        noise.register()
    chosen = {**choices.groups("train"), **DEFAULTS, **case}
    plain: dict[str, Any] = choices.alone("", "train")
    del plain["defaults"]

    for group, default in choices.groups("train").items():
        if default is not None:
            plain[group] = choices.alone(group, str(chosen[group])) | plain.get(group, {})

    for key, value in chosen.items():
        section, _, name = key.partition(".")
        if name:
            plain[section][name] = value
    return parse_train(plain)


def parts_of(task: Task, case: Case) -> Assembly:
    """Assemble a training on the task's device, with torch's global switches as it asks."""
    device, config = select_device(task.device), train_settings(case)
    runtime.configure(
        device, precision=config.runtime.precision, deterministic=config.runtime.deterministic
    )
    return assemble(config, device)


def attempt(task: Task, name: str, measure: Callable[..., None], given: object) -> None:
    """Measure one case; one that raises, as for lack of memory, is noted, and the others go on."""
    try:
        measure(given)
    except Exception as error:
        task.failed(name, error)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
