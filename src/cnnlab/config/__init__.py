"""Every setting of cnnlab: one dataclass per choice of a config group, and one per command.

Values live in configs/; types, units, ranges and what fits with what live here. A group with
several choices (model, dataset, augment, loss, optimizer, schedule, evaluation, writer) has a table
with a row per name, so a key that has no effect in a choice does not exist there.
"""

from dataclasses import fields
from typing import Any

from cnnlab.config.augment import AUGMENTS, AugmentConfig
from cnnlab.config.data import DATASETS, DatasetChoice, DatasetConfig, StoredDatasetConfig
from cnnlab.config.earlier import completed
from cnnlab.config.evaluation import EVALUATIONS, EvaluationConfig, ViewsChoice
from cnnlab.config.launch import Launch, Outcome
from cnnlab.config.loss import LOSSES, LossConfig
from cnnlab.config.models import MODELS, FineTuningConfig, ModelChoice, ModelConfig
from cnnlab.config.pictures import PICTURES, PictureChoice
from cnnlab.config.schedules import SCHEDULES, ScheduleConfig
from cnnlab.config.schema import flat, parse, setting, to_plain
from cnnlab.config.tables import Choice
from cnnlab.config.training import OPTIMIZERS, OptimizerConfig
from cnnlab.config.verbs.benchmark import BenchmarkConfig, parse_benchmark
from cnnlab.config.verbs.compare import CompareConfig, parse_compare
from cnnlab.config.verbs.convert import ConvertConfig, parse_convert
from cnnlab.config.verbs.copy import CopyConfig, parse_copy
from cnnlab.config.verbs.evaluate import EvaluateConfig, parse_evaluate
from cnnlab.config.verbs.list import ListConfig, parse_list
from cnnlab.config.verbs.predict import PredictConfig, parse_predict
from cnnlab.config.verbs.prepare import PrepareConfig, parse_prepare
from cnnlab.config.verbs.reproduce import ReproduceConfig, parse_reproduce
from cnnlab.config.verbs.summary import SummaryConfig, parse_summary
from cnnlab.config.verbs.train import TrainConfig, check_training, parse_train
from cnnlab.config.verbs.visualize import VisualizeConfig, parse_visualize
from cnnlab.config.writers import WRITERS, WriterConfig

__all__ = [
    "AUGMENTS",
    "DATASETS",
    "EVALUATIONS",
    "LOSSES",
    "MODELS",
    "OPTIMIZERS",
    "PICTURES",
    "SCHEDULES",
    "WRITERS",
    "AugmentConfig",
    "BenchmarkConfig",
    "Choice",
    "CompareConfig",
    "ConvertConfig",
    "CopyConfig",
    "DatasetChoice",
    "DatasetConfig",
    "EvaluateConfig",
    "EvaluationConfig",
    "Launch",
    "ListConfig",
    "LossConfig",
    "ModelChoice",
    "ModelConfig",
    "OptimizerConfig",
    "Outcome",
    "PictureChoice",
    "PredictConfig",
    "PrepareConfig",
    "ReproduceConfig",
    "ScheduleConfig",
    "StoredDatasetConfig",
    "SummaryConfig",
    "TrainConfig",
    "ViewsChoice",
    "VisualizeConfig",
    "WriterConfig",
    "check_training",
    "flat",
    "of_earlier_run",
    "parse_benchmark",
    "parse_compare",
    "parse_convert",
    "parse_copy",
    "parse_dataset",
    "parse_evaluate",
    "parse_list",
    "parse_model",
    "parse_predict",
    "parse_prepare",
    "parse_reproduce",
    "parse_summary",
    "parse_train",
    "parse_visualize",
    "setting",
    "to_plain",
]


def of_earlier_run(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a run's config with the keys that are younger than it, at what the run did."""
    known = completed(TrainConfig, plain)
    assert isinstance(known, dict)
    return known


def parse_model(plain: Any) -> ModelConfig:
    """Type the `model` section of a stored config: the network alone, not how it was trained."""
    own = {field.name for field in fields(FineTuningConfig)}
    if isinstance(plain, dict):
        plain = {key: value for key, value in plain.items() if key not in own}
    return parse(ModelConfig, completed(ModelConfig, plain), "model")


def parse_dataset(plain: Any) -> DatasetConfig:
    """Type the `dataset` section of a stored config."""
    return parse(DatasetConfig, completed(DatasetConfig, plain), "dataset")
