"""Settings of a set as its YAML file has them, with some keys changed."""

from pathlib import Path
from typing import Any

import yaml

from cnnlab.config import DatasetConfig, choices
from cnnlab.config.augment import AugmentConfig
from cnnlab.config.schema import parse
from cnnlab.config.verbs.prepare import PrepareConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def dataset_config(name: str, **changes: Any) -> DatasetConfig:
    plain = choices.alone("dataset", name)
    return parse(DatasetConfig, {**plain, **changes})


def augment_config(name: str, **changes: Any) -> AugmentConfig:
    plain = choices.alone("augment", name)
    return parse(AugmentConfig, {**plain, **changes})


def prepare_config(dataset: DatasetConfig, **changes: Any) -> PrepareConfig:
    plain = yaml.safe_load((CONFIGS / "prepare.yaml").read_text())
    del plain["defaults"]
    return PrepareConfig(dataset=dataset, **{**plain, **changes})


def small_folder_training(num_validation: int, batch_size: int) -> tuple[str, ...]:
    """Return the words of a training on a folder of small pictures that takes a second."""
    return (
        "train", "dataset=folder", "dataset.image_size_pixels=12",
        f"dataset.num_validation={num_validation}", "model=linear", "augment=none",
        "trainer.epochs=1", f"trainer.batch_size={batch_size}", "runtime.device=cpu",
        "runtime.num_threads=1", "logging.tensorboard=false", "logging.report=false",
        "logging.progress=false",
    )  # fmt: skip
