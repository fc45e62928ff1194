"""Settings of training: optimizers and schedules with their tables, trainer, saving, logging."""

from dataclasses import dataclass

from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class OptimizerConfig:
    """What every update rule has."""

    name: str = setting("name in the table of optimizers")
    learning_rate: float = setting("step size before the schedule", above=0)
    weight_decay: float = setting("pull of the weights towards zero", at_least=0)
    decay_biases: bool = setting("whether biases and norms are pulled too")
    bias_rate_factor: float = setting("rate of the biases over that of the weights", above=0)


@dataclass(kw_only=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum: torch's form, and the 2012 paper's."""

    momentum: float = setting("share of the last velocity kept", at_least=0, below=1)


@dataclass(kw_only=True)
class AdamwConfig(OptimizerConfig):
    """Adam with decoupled weight decay."""

    beta1: float = setting("memory of the mean", at_least=0, below=1)
    beta2: float = setting("memory of the mean square", at_least=0, below=1)
    epsilon: float = setting("added to the root mean square", above=0)


@dataclass(kw_only=True)
class LevenbergMarquardtConfig(OptimizerConfig):
    """The rule of 1998: each weight's rate is learning_rate / (damping + its curvature)."""

    damping: float = setting("added to the curvature, mu in the paper", above=0)
    num_curvature_images: int = setting("images of each pass's estimate", at_least=1)


OPTIMIZERS = Table(
    "optimizer",
    OptimizerConfig,
    {
        "sgd": Choice(SgdConfig, "cnnlab.training.optimizers:build_sgd"),
        "sgd_2012": Choice(SgdConfig, "cnnlab.training.optimizers:build_sgd_2012"),
        "adamw": Choice(AdamwConfig, "cnnlab.training.optimizers:build_adamw"),
        "levenberg_marquardt": Choice(
            LevenbergMarquardtConfig, "cnnlab.training.optimizers:build_levenberg_marquardt"
        ),
    },
)
"""Builders: (settings, parameter groups) -> torch Optimizer.

Each respects `found_inf`: with 1 in it, `step` changes neither weights nor state.
"""


@dataclass(kw_only=True)
class ScheduleConfig:
    """A constant rate."""

    name: str = setting("name in the table of schedules")


@dataclass(kw_only=True)
class StepScheduleConfig(ScheduleConfig):
    """The rate times `factor` at each of `at_epochs`."""

    at_epochs: list[float] = setting("epochs after which the rate drops", above=0)
    factor: float = setting("what the rate is multiplied with", above=0)


@dataclass(kw_only=True)
class TableScheduleConfig(ScheduleConfig):
    """Rates read from a table, as the 1998 paper prints them."""

    at_epochs: list[float] = setting("epochs after which the next rate holds", above=0)
    fractions: list[float] = setting("of the rate: from the start, then from each epoch", above=0)

    def __post_init__(self) -> None:
        """Refuse a table with rows that do not pair up."""
        if len(self.fractions) != len(self.at_epochs) + 1:
            raise UsageError(
                f"schedule.fractions has {len(self.fractions)} entries, expected "
                f"{len(self.at_epochs) + 1}: one from the start and one from each of at_epochs"
            )
        if self.at_epochs != sorted(self.at_epochs):
            raise UsageError(f"schedule.at_epochs must rise, got {self.at_epochs}")


@dataclass(kw_only=True)
class CosineScheduleConfig(ScheduleConfig):
    """Half a cosine from the rate to `final_fraction` of it, after a linear warm-up."""

    warmup_epochs: float = setting("linear rise from zero", at_least=0)
    final_fraction: float = setting("of the rate, at the end", at_least=0, at_most=1)


@dataclass(kw_only=True)
class OneCycleScheduleConfig(ScheduleConfig):
    """Linear rise to the rate, linear fall to `final_fraction` of it."""

    peak_fraction: float = setting("share of the run spent rising", above=0, below=1)
    start_fraction: float = setting("of the rate, at the start", above=0, at_most=1)
    final_fraction: float = setting("of the rate, at the end", at_least=0, at_most=1)


@dataclass(kw_only=True)
class PlateauScheduleConfig(ScheduleConfig):
    """The rate times `factor` when the validation error stops improving (the 2012 rule)."""

    factor: float = setting("what the rate is multiplied with", above=0, below=1)
    patience_epochs: int = setting("epochs without improvement before a drop", at_least=0)
    max_drops: int = setting("drops in all", at_least=1)


SCHEDULES = Table(
    "schedule",
    ScheduleConfig,
    {
        "constant": Choice(ScheduleConfig, "cnnlab.training.schedules:build_constant"),
        "step": Choice(StepScheduleConfig, "cnnlab.training.schedules:build_step"),
        "table": Choice(TableScheduleConfig, "cnnlab.training.schedules:build_table"),
        "cosine": Choice(CosineScheduleConfig, "cnnlab.training.schedules:build_cosine"),
        "one_cycle": Choice(OneCycleScheduleConfig, "cnnlab.training.schedules:build_one_cycle"),
        "plateau": Choice(PlateauScheduleConfig, "cnnlab.training.schedules:build_plateau"),
    },
)
"""Builders: (settings, steps per epoch, steps of the run) -> Schedule."""


@dataclass(kw_only=True)
class TrainerConfig:
    """How long, how much at once, and what ends it."""

    epochs: int = setting("passes over the training images", at_least=1)
    batch_size: int = setting("images per update", at_least=1)
    accumulate: int = setting("parts a batch is computed in; changes only memory", at_least=1)
    clip_gradient_norm: float | None = setting("largest norm of the gradient", above=0)
    early_stop_epochs: int | None = setting(
        "epochs without a better validation error before stopping", at_least=1
    )
    validate_every_epochs: int = setting("epochs between validations", at_least=1)
    limit_train_batches: int | None = setting("batches per epoch, for trying out", at_least=1)
    overfit_one_batch: bool = setting("show the same first batch for ever: must reach error 0")
    log_every_steps: int = setting("steps between logged figures", at_least=1)


@dataclass(kw_only=True)
class SavingConfig:
    """When checkpoints are written and how many stay; `best` and `last` always do."""

    every_steps: int | None = setting("steps between checkpoints", at_least=1)
    every_epochs: int | None = setting("epochs between checkpoints", at_least=1)
    every_minutes: float | None = setting("minutes between checkpoints", above=0)
    keep: int = setting("numbered checkpoints kept", at_least=2)


@dataclass(kw_only=True)
class LoggingConfig:
    """What is shown and written beside the checkpoints."""

    progress: bool = setting("a live bar on a terminal")
    tensorboard: bool = setting("write TensorBoard event files")
    report: bool = setting("write report.html at the end")
    images_every_epochs: int | None = setting("epochs between logged pictures", at_least=1)


@dataclass(kw_only=True)
class EnsembleConfig:
    """Several networks that differ in their seed alone, trained by one command."""

    members: int = setting("networks trained from seed, seed + 1, ...; 1: no ensemble", at_least=1)
    at_once: int | None = setting(
        "members trained side by side; null: one a core on a CPU, one on a GPU", at_least=1
    )
