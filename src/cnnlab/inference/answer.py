"""What an evaluation found, as a document for machines and as tables for people."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cnnlab.config import EvaluateConfig
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.evaluation.ensemble import MemberCounts, SubsetErrors
from cnnlab.evaluation.evaluate import Member
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.inference.network import StoredNetwork
from cnnlab.percentages import interval, percent
from cnnlab.printable import printable

PUBLISHED_TEN_VIEWS = {
    "imagenet": "compare with the published ten-view errors on these images: 40.7 / 18.2 % for one "
    "network of 2012, 38.1 / 16.4 % for five (Krizhevsky et al. 2012, table 2)",
    "imagenet_2010": "compare with the published ten-view errors on these images: 37.5 / 17.0 % "
    "for one network of 2012 (Krizhevsky et al. 2012, table 1)",
}
"""By the set's name: what its test images gave."""


@dataclass
class Answer:
    """An evaluation: who was asked, about what, and how it went.

    counts: of ensembles alone. states: one per network, whether the images are those that its run
    recorded; None where it recorded none.
    """

    config: EvaluateConfig
    store: Store
    networks: list[StoredNetwork]
    members: list[Member]
    tally: Tally
    misses: list[Miss]
    counts: MemberCounts | None
    states: list[bool | None] = field(default_factory=list)

    @property
    def as_recorded(self) -> bool | None:
        """False if the images differ from what any run recorded, None if any recorded none."""
        if False in self.states:
            return False
        return None if None in self.states or not self.states else True

    @property
    def warning(self) -> str:
        """Which runs recorded other images; empty without any."""
        differing = [
            short_name(str(network.path))
            for network, state in zip(self.networks, self.states, strict=True)
            if state is False
        ]
        if not differing:
            return ""
        return (
            f"warning: these {self.config.split} images are not those that the run recorded: "
            f"{self.store.digest[:12]} is their digest now ({printable(', '.join(differing))})"
        )

    @cached_property
    def member_tallies(self) -> list[Tally]:
        """Each member alone; empty for one network."""
        return [] if self.counts is None else self.counts.tallies(len(self.store.class_names))

    @cached_property
    def subsets(self) -> list[SubsetErrors]:
        """Errors by ensemble size, over all views; empty for one network."""
        return [] if self.counts is None else self.counts.by_size()

    @cached_property
    def center_subsets(self) -> list[SubsetErrors]:
        """Errors by ensemble size of the central view alone; empty without other views."""
        return [] if self.counts is None else self.counts.center_by_size()

    @cached_property
    def disagreement(self) -> list[list[float]]:
        """Share of images that two members name differently; empty for one network."""
        return [] if self.counts is None else self.counts.disagreement()

    @property
    def views(self) -> str:
        """Name of the views."""
        return self.config.evaluation.name

    @property
    def note(self) -> str:
        """What the figures should be compared with, where that is known."""
        is_whole = len(self.store.class_names) == 1000 and self.config.split == "test"
        if not is_whole or self.views != "ten_view":
            return ""
        return PUBLISHED_TEN_VIEWS.get(self.store.name, "")


def document(answer: Answer) -> dict[str, Any]:
    """Return the answer as plain data; errors are fractions."""
    tally = answer.tally
    plain = {
        "dataset": answer.store.name,
        "split": answer.config.split,
        "evaluation": answer.views,
        "checkpoints": [str(network.path) for network in answer.networks],
        "data_digest": answer.store.digest,
        "data_as_recorded": answer.as_recorded,
        "num_images": tally.num_images,
        "top1_error": tally.top1_error,
        "top5_error": tally.top5_error,
        "cross_entropy": tally.cross_entropy,
    }
    if answer.counts is None:
        return plain
    return plain | {"members": _members(answer), "subsets": _subsets(answer)}


def show(console: Console, answer: Answer) -> None:
    """Print the answer for people; errors in percent."""
    tally = answer.tally
    console.line(f"{answer.store.describe()}, {answer.views}")
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
    if answer.counts is not None:
        console.table(*member_table(answer), title="members")
        console.table(
            *subset_table(answer),
            title="ensembles by size, equal weights: top-1 error (mean, lowest, highest)",
        )
    for line in filter(None, (answer.note, answer.warning)):
        console.line(line)


Table = tuple[list[str], list[list[str]]]
"""Columns and rows, as text."""


def member_table(answer: Answer) -> Table:
    """Return one row a member: its errors, how often it differs from the others, its weight."""
    columns = ["member", "top-1", "95 % interval", "top-5", "cross-entropy", "differs"]
    rows = []
    others = max(1, len(answer.members) - 1)
    parts = zip(answer.members, answer.member_tallies, answer.disagreement, strict=True)
    for member, tally, shares in parts:
        rows.append(
            [
                short_name(member.name),
                percent(tally.top1_error),
                interval(tally.top1_interval),
                percent(tally.top5_error),
                f"{tally.cross_entropy:.4f}",
                percent(sum(shares) / others),
            ]
        )
    if answer.config.weights is not None:
        columns.append("weight")
        for row, member in zip(rows, answer.members, strict=True):
            row.append(f"{member.weight:.3f}")
    return columns, rows


def subset_table(answer: Answer) -> Table:
    """Return one row an ensemble size: mean and range of the errors over all such subsets."""
    columns = ["networks", "subsets", answer.views, "lowest", "highest"]
    rows = [
        [str(s.size), str(s.num_subsets), percent(s.mean), percent(s.lowest), percent(s.highest)]
        for s in answer.subsets
    ]
    if answer.center_subsets:
        columns += ["center", "lowest", "highest"]
        for row, s in zip(rows, answer.center_subsets, strict=True):
            row += [percent(s.mean), percent(s.lowest), percent(s.highest)]
    return columns, rows


def short_name(path: str) -> str:
    """Return the run folder's name of its best or last network, else the file's name too."""
    *folders, file = [part for part in path.split("/") if part not in ("checkpoints", "")]
    if folders and file in ("best.safetensors", "last.safetensors"):
        return folders[-1]
    return "/".join([*folders[-1:], file])


def _members(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "checkpoint": str(network.path),
            "data_as_recorded": state,
            "weight": member.weight,
            "top1_error": tally.top1_error,
            "top5_error": tally.top5_error,
            "cross_entropy": tally.cross_entropy,
            "disagreement": row,
        }
        for network, state, member, tally, row in zip(
            answer.networks,
            answer.states,
            answer.members,
            answer.member_tallies,
            answer.disagreement,
            strict=True,
        )
    ]


def _subsets(answer: Answer) -> list[dict[str, Any]]:
    found = []
    for name, sizes in ((answer.views, answer.subsets), ("center", answer.center_subsets)):
        for s in sizes:
            found.append(
                {
                    "evaluation": name,
                    "size": s.size,
                    "num_subsets": s.num_subsets,
                    "mean_top1_error": s.mean,
                    "lowest_top1_error": s.lowest,
                    "highest_top1_error": s.highest,
                }
            )
    return found
