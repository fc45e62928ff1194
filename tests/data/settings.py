"""Settings of a set as its YAML file has them, with some keys changed."""

from pathlib import Path
from typing import Any

import yaml

from cnnlab.config import DatasetConfig, choices
from cnnlab.config.data import AUGMENTS, DATASETS, AugmentConfig
from cnnlab.config.prepare import PrepareConfig
from cnnlab.config.schema import parse

CONFIGS = Path(__file__).parents[2] / "configs"


def dataset_config(name: str, **changes: Any) -> DatasetConfig:
    plain = choices.alone("dataset", name)
    return parse(DATASETS[name], {**plain, **changes})


def augment_config(name: str, **changes: Any) -> AugmentConfig:
    plain = choices.alone("augment", name)
    return parse(AUGMENTS[name], {**plain, **changes})


def prepare_config(dataset: DatasetConfig, **changes: Any) -> PrepareConfig:
    plain = yaml.safe_load((CONFIGS / "prepare.yaml").read_text())
    del plain["defaults"]
    return PrepareConfig(dataset=dataset, **{**plain, **changes})
