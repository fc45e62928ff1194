"""Every setting of cnnlab: one dataclass a config group choice, one a verb, and their cross-checks.

Values live in configs/; types, units, ranges and what fits with what live here. A group with
several shapes (model, dataset, augment, optimizer, schedule, evaluation) is a table from its
`name` to a dataclass, so a key that has no effect in a choice does not exist there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from cnnlab.config.checks import (
    check_dataset,
    check_pictures,
    check_runtime,
    check_training,
)
from cnnlab.config.convert import ConvertConfig
from cnnlab.config.data import AUGMENTS, DATASETS, AugmentConfig, DatasetConfig
from cnnlab.config.distributed import DistributedConfig
from cnnlab.config.earlier import completed
from cnnlab.config.launch import Launch, Outcome
from cnnlab.config.models import MODELS, FineTuningConfig, ModelConfig
from cnnlab.config.prepare import PrepareConfig
from cnnlab.config.schema import Variants, parse, setting, settings_within, to_plain
from cnnlab.config.summary import SummaryConfig
from cnnlab.config.surroundings import (
    EVALUATIONS,
    EnsembleConfig,
    EvaluationConfig,
    LoggingConfig,
    RuntimeConfig,
)
from cnnlab.config.training import (
    OPTIMIZERS,
    SCHEDULES,
    OptimizerConfig,
    SavingConfig,
    ScheduleConfig,
    TrainerConfig,
)
from cnnlab.config.verbs import CompareConfig, EvaluateConfig, PredictConfig, StoredDatasetConfig
from cnnlab.config.visualization import VisualizeConfig
from cnnlab.errors import UsageError

__all__ = [
    "VARIANTS",
    "BenchmarkConfig",
    "CompareConfig",
    "ConvertConfig",
    "EvaluateConfig",
    "Launch",
    "ListConfig",
    "Outcome",
    "PredictConfig",
    "PrepareConfig",
    "SummaryConfig",
    "TrainConfig",
    "VisualizeConfig",
    "of_earlier_run",
    "parse_benchmark",
    "parse_compare",
    "parse_convert",
    "parse_dataset",
    "parse_evaluate",
    "parse_list",
    "parse_model",
    "parse_predict",
    "parse_prepare",
    "parse_summary",
    "parse_train",
    "parse_visualize",
    "to_plain",
]

VARIANTS: Variants = {
    ModelConfig: MODELS,
    DatasetConfig: DATASETS,
    AugmentConfig: AUGMENTS,
    OptimizerConfig: OPTIMIZERS,
    ScheduleConfig: SCHEDULES,
    EvaluationConfig: EVALUATIONS,
}
"""The groups whose shape depends on their `name`."""

STORED_VARIANTS: Variants = {
    **VARIANTS,
    DatasetConfig: {**DATASETS, "checkpoint": StoredDatasetConfig},
}
"""The same for commands that read a checkpoint: `dataset=checkpoint` is the set it names."""


@dataclass(kw_only=True)
class TrainConfig:
    """`cnnlab train`."""

    seed: int = setting("of initialization, order, augmentation and dropout", at_least=0)
    model: ModelConfig
    fine_tuning: FineTuningConfig = settings_within("model")
    dataset: DatasetConfig
    augment: AugmentConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    ensemble: EnsembleConfig
    runtime: RuntimeConfig
    distributed: DistributedConfig
    saving: SavingConfig
    logging: LoggingConfig
    resume: str | None = setting("run folder or checkpoint to continue, or latest")
    allow_changes: list[str] = setting("settings that may differ from the run resumed")
    plugins: list[str] = setting("Python modules that register models of your own")


@dataclass(kw_only=True)
class BenchmarkConfig(TrainConfig):
    """`cnnlab benchmark`: the training that is measured, and how long to look."""

    seconds_per_part: float = setting("time spent on each part", above=0)
    format: str = setting("of the answer", choices=("text", "json"))


@dataclass(kw_only=True)
class ListConfig:
    """`cnnlab list`."""

    what: str = setting("to list", choices=("models", "datasets", "experiments", "runs"))
    format: str = setting("of the answer", choices=("text", "json"))


def parse_train(plain: dict[str, Any]) -> TrainConfig:
    """Check and type what `cnnlab train` was given."""
    stored = isinstance(plain.get("dataset"), dict) and plain["dataset"].get("name") == "checkpoint"
    if stored:
        raise UsageError("dataset=checkpoint is for evaluating", hint="name the set to train on")
    config = parse(TrainConfig, plain, variants=VARIANTS)
    check_training(config)
    return config


def of_earlier_run(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a run's config with the keys that are younger than it, at what the run did."""
    known = completed(TrainConfig, plain, VARIANTS)
    assert isinstance(known, dict)
    return known


def parse_model(plain: Any) -> ModelConfig:
    """Type the `model` section of a stored config: the network alone, not how it was trained."""
    own = {field.name for field in fields(FineTuningConfig)}
    if isinstance(plain, dict):
        plain = {key: value for key, value in plain.items() if key not in own}
    return parse(ModelConfig, completed(ModelConfig, plain, VARIANTS), "model", VARIANTS)


def parse_dataset(plain: Any) -> DatasetConfig:
    """Type the `dataset` section of a stored config."""
    return parse(DatasetConfig, completed(DatasetConfig, plain, VARIANTS), "dataset", VARIANTS)


def parse_benchmark(plain: dict[str, Any]) -> BenchmarkConfig:
    """Check and type what `cnnlab benchmark` was given."""
    config = parse(BenchmarkConfig, plain, variants=VARIANTS)
    check_runtime(config.runtime, refused=["profile"])
    check_training(config)
    return config


def parse_evaluate(plain: dict[str, Any]) -> EvaluateConfig:
    """Check and type what `cnnlab evaluate` was given."""
    config = parse(EvaluateConfig, plain, variants=STORED_VARIANTS)
    check_runtime(config.runtime)
    _refuse_none(config.checkpoint, "checkpoint", "checkpoint=PATH, a run folder, or latest")
    if isinstance(config.dataset, DatasetConfig):
        check_dataset(config.dataset)
    return config


def _refuse_none(given: Sequence[object], key: str, hint: str) -> None:
    if not given:
        raise UsageError(f"{key} is missing", hint=hint)


def parse_predict(plain: dict[str, Any]) -> PredictConfig:
    """Check and type what `cnnlab predict` was given."""
    config = parse(PredictConfig, plain, variants=VARIANTS)
    check_runtime(config.runtime)
    _refuse_none(config.checkpoint, "checkpoint", "checkpoint=PATH, a run folder, or latest")
    _refuse_none(config.images, "images", "images=FILE, images=FOLDER or several: images=[A,B]")
    return config


def parse_compare(plain: dict[str, Any]) -> CompareConfig:
    """Check and type what `cnnlab compare` was given."""
    config = parse(CompareConfig, plain)
    _refuse_none(config.runs, "runs", "runs=[FOLDER,FOLDER]; cnnlab list runs shows them")
    return config


def parse_convert(plain: dict[str, Any]) -> ConvertConfig:
    """Check and type what `cnnlab convert` was given."""
    return parse(ConvertConfig, plain, variants=VARIANTS)


def parse_visualize(plain: dict[str, Any]) -> VisualizeConfig:
    """Check and type what `cnnlab visualize` was given."""
    config = parse(VisualizeConfig, plain, variants=STORED_VARIANTS)
    check_runtime(config.runtime)
    check_pictures(config.runtime)
    _refuse_none(config.what, "what", "what=filters, what=[filters,top9] or what=all")
    _refuse_none(config.formats, "formats", "formats=png, formats=svg or both: formats=[png,svg]")
    if config.indices is not None:
        _refuse_none(config.indices, "indices", "indices=[0,5], or null for some of each class")
    if config.units is not None:
        _refuse_none(config.units, "units", "units=[0,5], or null for the strongest")
    return config


def parse_summary(plain: dict[str, Any]) -> SummaryConfig:
    """Check and type what `cnnlab summary` was given."""
    return parse(SummaryConfig, plain, variants=VARIANTS)


def parse_prepare(plain: dict[str, Any]) -> PrepareConfig:
    """Check and type what `cnnlab prepare` was given."""
    config = parse(PrepareConfig, plain, variants=VARIANTS)
    check_dataset(config.dataset)
    return config


def parse_list(plain: dict[str, Any]) -> ListConfig:
    """Check and type what `cnnlab list` was given."""
    return parse(ListConfig, plain)
