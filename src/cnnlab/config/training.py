"""Settings of training: optimizers with their table, trainer, saving, logging, ensembles."""

from dataclasses import dataclass
from typing import ClassVar

from cnnlab.config.bounds import MANY, MOST_EMBEDDED, MOST_FLOAT32, MOST_MEMBERS, MOST_THREADS
from cnnlab.config.parameter_groups import ParameterGroupConfig, check_groups
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table


@dataclass(kw_only=True)
class OptimizerConfig:
    """Settings of every update rule.

    is_adaptive: whether it scales the step of each weight by that weight's own gradients.
    """

    is_adaptive: ClassVar[bool] = False
    name: str = setting("name of the optimizer")
    learning_rate: float = setting(
        "base learning rate, before the schedule", above=0, at_most=MOST_FLOAT32
    )
    weight_decay: float = setting("weight decay (L2) coefficient", at_least=0, at_most=MOST_FLOAT32)
    decay_biases: bool = setting("also decay biases and normalization parameters")
    bias_rate_factor: float = setting(
        "bias learning rate as a multiple of learning_rate", above=0, at_most=MOST_FLOAT32
    )
    groups: list[ParameterGroupConfig] = setting(
        "layers with a rate, a schedule or a weight decay of their own", earlier=[]
    )

    def __post_init__(self) -> None:
        """Refuse groups that share parameters, and a weight decay that reaches none."""
        check_groups(self.groups, decay_biases=self.decay_biases)


@dataclass(kw_only=True)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum: torch's form, and the 2012 paper's."""

    momentum: float = setting("momentum coefficient", at_least=0, below=1)


@dataclass(kw_only=True)
class AdamwConfig(OptimizerConfig):
    """Adam with decoupled weight decay."""

    is_adaptive: ClassVar[bool] = True
    beta1: float = setting("decay rate of the first moment", at_least=0, below=1)
    beta2: float = setting("decay rate of the second moment", at_least=0, below=1)
    epsilon: float = setting("term added to the denominator", above=0, at_most=MOST_FLOAT32)


@dataclass(kw_only=True)
class LevenbergMarquardtConfig(OptimizerConfig):
    """The rule of 1998: per-weight rates of learning_rate / (damping + curvature)."""

    is_adaptive: ClassVar[bool] = True
    damping: float = setting(
        "term added to the curvature, mu in the paper", above=0, at_most=MOST_FLOAT32
    )
    num_curvature_images: int = setting(
        "images per curvature estimate, one estimate per epoch",
        at_least=1,
        at_most=MANY,
    )


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
    usual="adamw",
)
"""Builders: (settings, parameter groups) -> torch Optimizer.

Each respects `found_inf`: with 1 in it, `step` changes neither weights nor state. For an own one
`training/torch_rule.py` does.
"""


@dataclass(kw_only=True)
class TrainerConfig:
    """Length of training, batches, and when to stop."""

    epochs: int = setting("passes over the training images", at_least=1, at_most=MANY)
    batch_size: int = setting("images per update", at_least=1, at_most=MANY)
    accumulate: int = setting(
        "gradient accumulation: micro-batches per batch, to save memory",
        at_least=1,
        at_most=MANY,
    )
    clip_gradient_norm: float | None = setting(
        "maximum gradient norm; null: no clipping", above=0, at_most=MOST_FLOAT32
    )
    max_filter_rms: float | None = setting(
        "root mean square to which larger convolution filters are scaled after each update; "
        "null: no clipping",
        above=0,
        at_most=MOST_FLOAT32,
        earlier=None,
    )
    early_stop_epochs: int | None = setting(
        "stop after this many epochs without a better validation error",
        at_least=1,
        at_most=MANY,
    )
    validate_every_epochs: int = setting("epochs between validations", at_least=1, at_most=MANY)
    limit_train_batches: int | None = setting(
        "batches per epoch, for trial runs; null: all",
        at_least=1,
        at_most=MANY,
    )
    overfit_one_batch: bool = setting(
        "sanity check: train on the first batch only; its error must reach 0"
    )
    log_every_steps: int = setting("steps between logged metrics", at_least=1, at_most=MANY)


@dataclass(kw_only=True)
class SavingConfig:
    """When to save checkpoints and how many to keep, besides `best` and `last`."""

    every_steps: int | None = setting("steps between checkpoints", at_least=1, at_most=MANY)
    every_epochs: int | None = setting("epochs between checkpoints", at_least=1, at_most=MANY)
    every_minutes: float | None = setting("minutes between checkpoints", above=0, at_most=MANY)
    keep: int = setting("newest numbered checkpoints to keep", at_least=2, at_most=MANY)
    keep_spread: int = setting(
        "further ones to keep, spread over the training for what=evolution; 0: none",
        at_least=0,
        at_most=MANY,
        earlier=0,
    )


@dataclass(kw_only=True)
class LoggingConfig:
    """Progress bar, TensorBoard, report and logged images."""

    progress: bool = setting("show a progress bar on a terminal")
    tensorboard: bool = setting("write TensorBoard event files")
    report: bool = setting("write report.html at the end")
    images_every_epochs: int | None = setting(
        "epochs between logged images; null: none",
        at_least=1,
        at_most=MANY,
    )
    histograms_every_steps: int | None = setting(
        "steps between TensorBoard's histograms of weights and gradients, 5 KB per layer and "
        "step; null: none",
        at_least=1,
        at_most=MANY,
        earlier=None,
    )
    embedded_images: int = setting(
        "images in TensorBoard's projector at the end; 0: none",
        at_least=0,
        at_most=MOST_EMBEDDED,
        earlier=0,
    )


@dataclass(kw_only=True)
class EnsembleConfig:
    """Several networks that differ only in their seed, trained by one command."""

    members: int = setting(
        "networks to train, with seed, seed + 1, ...; 1: no ensemble",
        at_least=1,
        at_most=MOST_MEMBERS,
    )
    at_once: int | None = setting(
        "members trained in parallel; null: one per core on a CPU, one on a GPU",
        at_least=1,
        at_most=MOST_THREADS,
    )
