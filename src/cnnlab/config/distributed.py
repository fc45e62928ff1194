"""Settings of several processes under torchrun, real or simulated, and what does not fit them."""

from dataclasses import dataclass

from cnnlab.config.bounds import MANY
from cnnlab.config.schema import setting
from cnnlab.config.training import LevenbergMarquardtConfig, OptimizerConfig, TrainerConfig
from cnnlab.errors import UsageError

DATA, HYBRID = "data", "hybrid"
MOST_WORKERS = 1024


@dataclass(kw_only=True)
class DistributedConfig:
    """Settings of several processes under torchrun, real or simulated; otherwise without effect."""

    timeout_seconds: float = setting(
        "end the job after this long without progress; must exceed the time to save",
        above=0,
        at_most=MANY,
    )
    compression: str = setting(
        "gradient compression; bf16 halves the traffic and rounds the gradients",
        choices=("none", "bf16"),
    )
    scheme: str = setting(
        "data: every process has the whole network; hybrid: fully connected layers split by units, "
        "as in 2014 (not yet run on several GPUs)",
        choices=(DATA, HYBRID),
        earlier=DATA,
    )
    fc_batch: int | None = setting(
        "hybrid: images per update of the fully connected layers, several in each batch; null: one "
        "update for the whole batch",
        at_least=1,
        at_most=MANY,
        earlier=None,
    )
    simulate: int | None = setting(
        "compute in one process what so many would; null: do not simulate",
        at_least=2,
        at_most=MOST_WORKERS,
        earlier=None,
    )


def check_distributed(
    distributed: DistributedConfig,
    trainer: TrainerConfig,
    optimizer: OptimizerConfig,
    *,
    compiles: bool,
    weighs_classes: bool,
) -> None:
    """Raise UsageError for settings that the workers of a job cannot have together."""
    batch_size, fc_batch = trainer.batch_size, distributed.fc_batch
    if fc_batch is not None and distributed.scheme != HYBRID:
        raise UsageError(
            "distributed.fc_batch needs distributed.scheme=hybrid",
            hint="in scheme data the fully connected layers are updated with the convolutions",
        )
    for key, count in (("fc_batch", fc_batch), ("simulate", distributed.simulate)):
        if count is not None and count > batch_size:
            raise UsageError(
                f"distributed.{key}={count} exceeds trainer.batch_size={batch_size}",
                hint=f"keep distributed.{key} at most trainer.batch_size, that of all processes",
            )

    who = "distributed.scheme=hybrid" if distributed.scheme == HYBRID else "distributed.simulate"
    is_plain = distributed.scheme == DATA and distributed.simulate is None
    updates_often = fc_batch is not None and fc_batch < batch_size
    conflicts = (
        (not is_plain and trainer.accumulate > 1, who, "trainer.accumulate above 1"),
        (not is_plain and compiles, who, "runtime.compile=true"),
        (
            not is_plain and isinstance(optimizer, LevenbergMarquardtConfig),
            who,
            f"optimizer={optimizer.name}",
        ),
        (updates_often and weighs_classes, "distributed.fc_batch", "loss.class_weights"),
    )
    for is_met, one, other in conflicts:
        if is_met:
            raise UsageError(f"{one} does not work with {other}", hint="leave one of them out")
