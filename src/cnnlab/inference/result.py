"""The result of an evaluation: counts, a JSON document, and tables for people."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnnlab.config import DATASETS, EvaluateConfig
from cnnlab.config.ema import EMA
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.evaluation.ensemble import MemberCounts, SubsetErrors
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.inference.network import StoredNetwork
from cnnlab.percentages import interval, percent
from cnnlab.safe_output import escape_control

Table = tuple[list[str], list[list[str]]]
"""Columns and rows, as text."""

AVERAGED = "moving average of the weights"


@dataclass(frozen=True)
class MemberResult:
    """One network of an ensemble alone.

    disagreement: for each member, the share of images that the two classify differently.
    """

    checkpoint: str
    data_as_recorded: bool | None
    weight: float
    tally: Tally
    disagreement: list[float]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The evaluated networks, the images, and what was counted.

    weights: of the networks in the average, adding up to 1. counts: of ensembles only.
    as_recorded_each: per network, whether the images are those that its run recorded; None where
    it recorded none.
    """

    config: EvaluateConfig
    store: Store
    networks: list[StoredNetwork]
    weights: list[float]
    tally: Tally
    misses: list[Miss]
    counts: MemberCounts | None
    as_recorded_each: list[bool | None]

    @property
    def title(self) -> str:
        """The model, or the size of the ensemble, and the images it was tested on."""
        names = [str(network.config["model"]["name"]) for network in self.networks]
        who = names[0] if len(names) == 1 else f"ensemble of {len(names)}"
        if self.averaged:
            who += f" ({self.averaged})"
        return f"{who} on {self.store.name}, {self.config.split} images"

    @property
    def checkpoints(self) -> list[str]:
        """Paths of the networks' files."""
        return [str(network.path) for network in self.networks]

    @property
    def averaged(self) -> str:
        """Which networks have the moving average of their weights, in words; empty for none."""
        number = [network.which_weights for network in self.networks].count(EMA)
        if number == len(self.networks):
            return AVERAGED
        return f"{AVERAGED} of {number} members" if number else ""

    @property
    def views(self) -> str:
        """Name of the views."""
        return self.config.evaluation.name

    @property
    def as_recorded(self) -> bool | None:
        """False if the images differ from what any run recorded, None if any recorded none."""
        if False in self.as_recorded_each:
            return False
        return None if None in self.as_recorded_each or not self.as_recorded_each else True

    @property
    def warning(self) -> str:
        """Which runs recorded other images; empty without any."""
        differing = [
            short_name(checkpoint)
            for checkpoint, same in zip(self.checkpoints, self.as_recorded_each, strict=True)
            if same is False
        ]
        if not differing:
            return ""
        return (
            f"warning: these {self.config.split} images are not those that the run recorded: "
            f"{self.store.digest[:12]} is their digest now ({escape_control(', '.join(differing))})"
        )

    @property
    def note(self) -> str:
        """What the figures should be compared with, where that is known."""
        is_whole = len(self.store.class_names) == 1000 and self.config.split == "test"
        if not is_whole or self.views != "ten_view":
            return ""
        row = DATASETS.get(self.store.name)
        if row is None or not row.published:
            return ""
        return f"compare with the published ten-view errors on these images: {row.published}"

    @cached_property
    def members(self) -> list[MemberResult]:
        """Each network alone; empty for one network."""
        if self.counts is None:
            return []
        columns = (
            self.checkpoints,
            self.as_recorded_each,
            self.weights,
            self.counts.tallies(len(self.store.class_names)),
            self.counts.disagreement(),
        )
        return [MemberResult(*row) for row in zip(*columns, strict=True)]

    @cached_property
    def subsets(self) -> list[SubsetErrors]:
        """Errors by ensemble size, over all views; empty for one network."""
        return [] if self.counts is None else self.counts.by_size()

    @cached_property
    def center_subsets(self) -> list[SubsetErrors]:
        """Errors by ensemble size of the central view alone; empty without other views."""
        return [] if self.counts is None else self.counts.center_by_size()


def document(result: EvaluationResult) -> dict[str, Any]:
    """Return the result as plain data for JSON; errors are fractions."""
    tally = result.tally
    plain = {
        "dataset": result.store.name,
        "split": result.config.split,
        "evaluation": result.views,
        "checkpoints": result.checkpoints,
        "data_digest": result.store.digest,
        "data_as_recorded": result.as_recorded,
        "num_images": tally.num_images,
        "top1_error": tally.top1_error,
        "top5_error": tally.top5_error,
        "cross_entropy": tally.cross_entropy,
    }

    if result.averaged:
        plain["which_weights"] = [network.which_weights for network in result.networks]

    if result.counts is None:
        return plain
    return plain | {"members": _members(result), "subsets": _subsets(result)}


def show(console: Console, result: EvaluationResult) -> None:
    """Print the result as tables; errors in percent."""
    tally = result.tally
    words = filter(None, (result.store.describe(), result.views, result.averaged))
    console.line(", ".join(words))
    console.table(
        ["", "value", "95 % interval"],
        [
            ["top-1 error", percent(tally.top1_error), interval(tally.top1_interval)],
            ["top-5 error", percent(tally.top5_error), interval(tally.top5_interval)],
            ["cross-entropy", f"{tally.cross_entropy:.4f}", ""],
            ["calibration error", percent(tally.calibration_error), ""],
        ],
    )
    console.line(f"{tally.top1_errors:,} of {tally.num_images:,} images wrong")

    if result.counts is not None:
        console.table(*member_table(result), title="members")
        console.table(
            *subset_table(result),
            title="ensembles by size, equal weights: top-1 error (mean, lowest, highest)",
        )

    for line in filter(None, (result.note, result.warning)):
        console.line(line)


def member_table(result: EvaluationResult) -> Table:
    """Return one row per member: its errors, how often it differs from the others, its weight."""
    columns = ["member", "top-1", "95 % interval", "top-5", "cross-entropy", "differs"]
    others = max(1, len(result.members) - 1)
    rows = [
        [
            short_name(member.checkpoint),
            percent(member.tally.top1_error),
            interval(member.tally.top1_interval),
            percent(member.tally.top5_error),
            f"{member.tally.cross_entropy:.4f}",
            percent(sum(member.disagreement) / others),
        ]
        for member in result.members
    ]

    if result.config.weights is not None:
        columns.append("weight")
        for row, member in zip(rows, result.members, strict=True):
            row.append(f"{member.weight:.3f}")
    return columns, rows


def subset_table(result: EvaluationResult) -> Table:
    """Return one row per ensemble size: mean and range of the errors over all such subsets."""
    columns = ["networks", "subsets", result.views, "lowest", "highest"]
    rows = [
        [str(s.size), str(s.num_subsets), percent(s.mean), percent(s.lowest), percent(s.highest)]
        for s in result.subsets
    ]

    if result.center_subsets:
        columns += ["center", "lowest", "highest"]
        for row, s in zip(rows, result.center_subsets, strict=True):
            row += [percent(s.mean), percent(s.lowest), percent(s.highest)]
    return columns, rows


def disagreement_table(result: EvaluationResult) -> Table:
    """Return for each two members the share of images that they classify differently."""
    numbers = [str(i + 1) for i in range(len(result.members))]
    rows = [
        [short_name(member.checkpoint), *map(percent, member.disagreement)]
        for member in result.members
    ]
    return ["member", *numbers], rows


def short_name(path: str) -> str:
    """Return the run folder's name for its best or last checkpoint, else also the file's name."""
    *folders, file = [part for part in path.split("/") if part not in ("checkpoints", "")]
    if folders and file in ("best.safetensors", "last.safetensors"):
        return folders[-1]
    return "/".join([*folders[-1:], file])


def _members(result: EvaluationResult) -> list[dict[str, Any]]:
    return [
        {
            "checkpoint": member.checkpoint,
            "data_as_recorded": member.data_as_recorded,
            "weight": member.weight,
            "top1_error": member.tally.top1_error,
            "top5_error": member.tally.top5_error,
            "cross_entropy": member.tally.cross_entropy,
            "disagreement": member.disagreement,
        }
        for member in result.members
    ]


def _subsets(result: EvaluationResult) -> list[dict[str, Any]]:
    return [
        {
            "evaluation": name,
            "size": s.size,
            "num_subsets": s.num_subsets,
            "mean_top1_error": s.mean,
            "lowest_top1_error": s.lowest,
            "highest_top1_error": s.highest,
        }
        for name, sizes in ((result.views, result.subsets), ("center", result.center_subsets))
        for s in sizes
    ]
