"""Settings of learning-rate schedules, and their table."""

from dataclasses import dataclass
from typing import ClassVar

from cnnlab.config.bounds import MANY, MOST_FLOAT32
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class ScheduleConfig:
    """A constant learning rate.

    is_trial: whether a run with it only tries rates, and its network is neither validated nor
    tested.
    """

    is_trial: ClassVar[bool] = False
    name: str = setting("name of the schedule")


@dataclass(kw_only=True)
class StepScheduleConfig(ScheduleConfig):
    """The learning rate is multiplied by `factor` at each of `at_epochs`."""

    at_epochs: list[float] = setting(
        "epochs after which the learning rate drops", above=0, at_most=MANY
    )
    factor: float = setting("factor of each drop", above=0, at_most=MOST_FLOAT32)


@dataclass(kw_only=True)
class TableScheduleConfig(ScheduleConfig):
    """Learning rates from a table, as printed in the 1998 paper."""

    at_epochs: list[float] = setting(
        "epochs after which the next fraction applies", above=0, at_most=MANY
    )
    fractions: list[float] = setting(
        "fractions of learning_rate: from the start, then after each epoch",
        above=0,
        at_most=MOST_FLOAT32,
    )

    def __post_init__(self) -> None:
        """Refuse lists that do not fit each other, and epochs out of order."""
        if len(self.fractions) != len(self.at_epochs) + 1:
            raise UsageError(
                f"schedule.fractions has {len(self.fractions)} entries, expected "
                f"{len(self.at_epochs) + 1}: one from the start and one from each of at_epochs"
            )
        if self.at_epochs != sorted(self.at_epochs):
            raise UsageError(f"schedule.at_epochs must be ascending, got {self.at_epochs}")


@dataclass(kw_only=True)
class CosineScheduleConfig(ScheduleConfig):
    """Linear warm-up, then half a cosine down to `final_fraction` of the learning rate."""

    warmup_epochs: float = setting("epochs of linear warm-up from zero", at_least=0, at_most=MANY)
    final_fraction: float = setting("final fraction of learning_rate", at_least=0, at_most=1)


@dataclass(kw_only=True)
class OneCycleScheduleConfig(ScheduleConfig):
    """Linear rise to the learning rate, then linear fall to `final_fraction` of it."""

    peak_fraction: float = setting(
        "fraction of the run before the peak learning rate", above=0, below=1
    )
    start_fraction: float = setting("initial fraction of learning_rate", above=0, at_most=1)
    final_fraction: float = setting("final fraction of learning_rate", at_least=0, at_most=1)


@dataclass(kw_only=True)
class PlateauScheduleConfig(ScheduleConfig):
    """Multiply by `factor` when the validation error stops improving (the 2012 rule)."""

    factor: float = setting("factor of each drop", above=0, below=1)
    patience_epochs: int = setting(
        "epochs without improvement before a drop", at_least=0, at_most=MANY
    )
    max_drops: int = setting("maximum number of drops", at_least=1, at_most=MANY)


@dataclass(kw_only=True)
class RangeTestScheduleConfig(ScheduleConfig):
    """The learning rate grows exponentially over the run, to find one that trains well."""

    is_trial: ClassVar[bool] = True
    first_fraction: float = setting(
        "fraction of learning_rate at the first update", above=0, at_most=MOST_FLOAT32
    )
    last_fraction: float = setting(
        "fraction of learning_rate at the last update", above=0, at_most=MOST_FLOAT32
    )

    def __post_init__(self) -> None:
        """Refuse a rate that does not grow."""
        if self.last_fraction <= self.first_fraction:
            raise UsageError(
                f"schedule.last_fraction={self.last_fraction:g} is not above "
                f"schedule.first_fraction={self.first_fraction:g}",
                hint="a range test needs a rate that grows",
            )


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
        "range_test": Choice(
            RangeTestScheduleConfig, "cnnlab.training.range_test:build_range_test"
        ),
    },
)
"""Builders: (settings, steps per epoch, steps of the run) -> Schedule."""
