"""Claims of the papers and the lecture, one YAML file each: `cnnlab reproduce` measures them.

A claim is data: a sentence with its source, two or more arms (trainings that differ in exactly the
named keys), a metric, and a number of seeds that was fixed before the first run.
"""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.config import choices
from cnnlab.config.bounds import MANY, MOST_FLOAT32
from cnnlab.config.claim_metrics import METRICS
from cnnlab.config.hints import element_type, is_list, is_optional
from cnnlab.config.schema import parse, setting
from cnnlab.errors import UsageError

SCALES = ("laptop", "full")
MOST_SEEDS = 100

STATISTICS = ("difference", "ratio", "level", "exact")
"""How arms are compared: by a sum with factors, by a quotient, one arm with a level that was
published, or a computed figure with the printed one."""

SEARCHED_BY = ("validation_error", "metric")
"""What a search chooses by."""


@dataclass(kw_only=True)
class ArmConfig:
    """One of the trainings that a claim compares."""

    name: str = setting("name of the arm")
    factor: float = setting(
        "its factor in the sum that is above zero where the claim holds; 0: shown only",
        at_least=-MOST_FLOAT32,
        at_most=MOST_FLOAT32,
    )
    words: list[str] = setting("words of cnnlab train for this arm alone")


@dataclass(kw_only=True)
class SearchConfig:
    """A setting that each arm chooses for itself before the seeds run."""

    key: str = setting("setting to choose, such as optimizer.learning_rate")
    values: list[float] = setting("values to try", at_least=-MOST_FLOAT32, at_most=MOST_FLOAT32)
    by: str | None = setting(
        "what is least of the chosen value: metric, of the claim, or validation_error (null)",
        choices=SEARCHED_BY,
    )

    @property
    def by_metric(self) -> bool:
        """Return whether the claim's own metric chooses."""
        return self.by == "metric"


@dataclass(kw_only=True)
class ScaleConfig:
    """The arms of a claim at one scale.

    Without arms the claim cannot be measured at this scale, and `needs` says what it would take.
    """

    needs: str | None = setting("image sets without which the claim is unmeasured")
    note: str | None = setting("what this scale changes, to be read beside the figures")
    words: list[str] = setting("words of cnnlab train for all arms")
    arms: list[ArmConfig] = setting("the trainings that are compared")
    search: SearchConfig | None = setting("a setting that each arm chooses for itself")
    images: int | None = setting("training images of all runs together", at_least=1, at_most=MANY)
    images_per_second: int | None = setting(
        "training images per second and core that the budget counts with", at_least=1, at_most=MANY
    )


@dataclass(kw_only=True)
class ClaimConfig:
    """One claim: what was said, where, and what would show it here."""

    sentence: str = setting("the claim, in one sentence")
    source: str = setting("paper or lecture, with section, table or figure")
    published: str = setting("published figures; - where there are none")
    published_mark: str = setting(
        "how the published figures are known", choices=("read", "computed", "memory", "none")
    )
    author_log: str = setting("figures in the author's own logs; - where there are none")
    metric: str = setting("what is measured", choices=tuple(METRICS))
    target: float | None = setting("number that the metric needs", above=0, at_most=MOST_FLOAT32)
    expected: list[float] | None = setting(
        "figures of a claim that is computed", at_least=0, at_most=MOST_FLOAT32
    )
    statistic: str = setting("how the arms are compared", choices=STATISTICS)
    level: float | None = setting(
        "level that the arm is compared with: factor -1 is below it where the claim holds",
        at_least=0,
        at_most=MOST_FLOAT32,
    )
    seeds: int = setting("seeds 0, 1, ... of each arm", at_least=1, at_most=MOST_SEEDS)
    differs_in: list[str] = setting("the keys in which the arms differ, and no others")
    refuted_by: str = setting("what would refute the claim")
    laptop: ScaleConfig = setting("small networks and sets: tests the direction, not the size")
    full: ScaleConfig = setting("the paper's own set-up")

    def at(self, scale: str) -> ScaleConfig:
        """Return the arms of a scale."""
        return self.laptop if scale == "laptop" else self.full

    @property
    def is_computed(self) -> bool:
        """Return whether the claim is about a network, without training."""
        return METRICS[self.metric].per == "network"


def names(folder: str | None = None) -> list[str]:
    """Return the names of all claims. folder: of the user's own instead of ours."""
    return sorted(path.stem for path in _place(folder).glob("*.yaml"))


def read(name: str, folder: str | None = None) -> ClaimConfig:
    """Return one claim. Raises UsageError where its file does not describe one."""
    try:
        claim = parse(ClaimConfig, _filled(ClaimConfig, choices.read(_file(name, folder))))
        _check(claim)
    except UsageError as error:
        raise UsageError(f"claim '{name}': {error.what}", error.where, error.hint) from error
    return claim


def _file(name: str, folder: str | None) -> Path:
    return _place(folder) / f"{name}.yaml"


def _place(folder: str | None) -> Path:
    return choices.configs_folder() / "claim" if folder is None else Path(folder)


def _filled(section_class: Any, plain: dict[str, Any]) -> dict[str, Any]:
    """Return a section with null, or an empty list, for what its file leaves out."""
    hints = typing.get_type_hints(section_class)
    known: dict[str, Any] = {}
    for field in dataclasses.fields(section_class):
        hint, given = hints[field.name], plain.get(field.name)
        section = None if is_list(hint) else element_type(hint)
        if isinstance(given, dict) and dataclasses.is_dataclass(section):
            known[field.name] = _filled(section, given)
        elif given is None and dataclasses.is_dataclass(hint):
            known[field.name] = _filled(hint, {})
        elif field.name in plain:
            known[field.name] = given
        elif is_optional(hint):
            known[field.name] = None
        elif is_list(hint):
            known[field.name] = []
    return plain | known


def _check(claim: ClaimConfig) -> None:
    """Raise UsageError for a claim whose parts do not fit each other."""
    metric = METRICS[claim.metric]
    if metric.needs_target == (claim.target is None):
        what = "needs a target" if metric.needs_target else "takes no target"
        raise UsageError(f"metric {claim.metric} {what}")
    if claim.is_computed != (claim.statistic == "exact") or (
        claim.is_computed == (claim.expected is None)
    ):
        raise UsageError(
            f"metric {claim.metric} does not fit statistic={claim.statistic}",
            hint="statistic=exact and expected are for what is computed from a network alone",
        )

    if (claim.statistic == "level") == (claim.level is None):
        raise UsageError("statistic=level, and no other, needs a level")

    for scale in SCALES:
        section = claim.at(scale)
        if not section.arms and section.needs is None:
            raise UsageError(f"{scale} has no arms, and does not say what it needs")
        if section.arms and all(arm.factor == 0 for arm in section.arms):
            raise UsageError(f"no arm of {scale} has a factor")
        if claim.statistic == "level" and len(section.arms) > 1:
            raise UsageError(f"statistic=level compares one arm, and {scale} has more")
        if section.search is not None and section.search.by_metric and not metric.chooser:
            raise UsageError(
                f"metric {claim.metric} chooses no setting",
                hint="it would choose on test images; leave search.by out",
            )
