"""What members are worth together: every subset, and how often two of them differ.

Counted batch by batch: the probabilities of all images, members and classes would take gigabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from cnnlab.evaluation.metrics import Tally, Verdicts, count, join, judge

MOST_SUBSETS_MEMBERS = 8
"""Up to so many members every subset is counted (255); of more, the first 1, 2, 3 ... members."""

CENTER_VIEW = 4
"""Place of the central crop among five, ten and nine views."""

COUNTED_AT_ONCE = 1 << 20
"""Probabilities: a count is some operations per subset, which take as long for one batch."""


@dataclass(frozen=True)
class SubsetErrors:
    """Top-1 errors of all ensembles of one size, as fractions."""

    size: int
    num_subsets: int
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, eq=False)
class MemberCounts:
    """What was counted of M members and their subsets; adds up with +, in the images' order.

    Members weigh the same in a subset. Source: Krizhevsky et al. 2012, section 6 (1, 5, 7 CNNs).
    """

    verdicts: tuple[Verdicts, ...]
    """Of each member alone, averaged over its views."""
    errors: Tensor
    """int64, one per subset: images that its average misjudges."""
    center_errors: Tensor | None
    """The same by the central view alone; None where there was one view."""
    differing: Tensor
    """int64 [M,M]: images that two members name differently."""

    def __add__(self, other: "MemberCounts") -> "MemberCounts":
        center = self.center_errors
        if center is not None and other.center_errors is not None:
            center = center + other.center_errors
        return MemberCounts(
            tuple(join([a, b]) for a, b in zip(self.verdicts, other.verdicts, strict=True)),
            self.errors + other.errors,
            center,
            self.differing + other.differing,
        )

    @property
    def num_images(self) -> int:
        """Images judged."""
        return len(self.verdicts[0].labels)

    def tallies(self, num_classes: int) -> list[Tally]:
        """Return the figures of each member alone."""
        return [count(verdicts, num_classes) for verdicts in self.verdicts]

    def by_size(self) -> list[SubsetErrors]:
        """Return the errors of the ensembles of 1, 2 ... M members, over all views."""
        return self._by_size(self.errors)

    def center_by_size(self) -> list[SubsetErrors]:
        """Return the same of the central view alone; empty where there was one view."""
        return [] if self.center_errors is None else self._by_size(self.center_errors)

    def disagreement(self) -> list[list[float]]:
        """Return for each two members the share of images that they name differently."""
        shares: list[list[float]] = (self.differing.double() / self.num_images).tolist()
        return shares

    def _by_size(self, errors: Tensor) -> list[SubsetErrors]:
        by_size: dict[int, list[float]] = {}
        for subset, wrong in zip(subsets_of(len(self.verdicts)), errors.tolist(), strict=True):
            by_size.setdefault(len(subset), []).append(wrong / self.num_images)
        return [
            SubsetErrors(size, len(found), sum(found) / len(found), min(found), max(found))
            for size, found in by_size.items()
        ]


@dataclass
class MemberObserver:
    """Count what the members of an ensemble are worth; an observer of `evaluate`."""

    _waiting: list[tuple[Tensor, ...]] = field(default_factory=list)
    _num_waiting: int = 0
    _counts: MemberCounts | None = None

    def __call__(self, labels: Tensor, chances: Tensor) -> None:
        """Take labels [N] and probabilities [N,M,V,K] of a batch."""
        views = [chances.mean(2)]
        if chances.shape[2] > 1:
            views.append(chances[:, :, CENTER_VIEW])
        self._waiting.append((labels.cpu(), *(view.cpu() for view in views)))
        self._num_waiting += views[0].numel()
        if self._num_waiting >= COUNTED_AT_ONCE:
            self._count()

    @property
    def counts(self) -> MemberCounts | None:
        """What was counted so far; None without an image."""
        self._count()
        return self._counts

    def _count(self) -> None:
        if not self._waiting:
            return
        labels, *views = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._num_waiting = [], 0
        if len(labels):
            found = count_members(labels, *views)
            self._counts = found if self._counts is None else self._counts + found


def count_members(labels: Tensor, chances: Tensor, center: Tensor | None = None) -> MemberCounts:
    """Count probabilities [N,M,K], and those of the central view alone, against labels [N]."""
    verdicts = tuple(judge(chances[:, m], labels) for m in range(chances.shape[1]))
    predicted = torch.stack([one.predicted for one in verdicts], dim=1)
    differing = (predicted[:, :, None] != predicted[:, None, :]).sum(0)
    center_errors = None if center is None else _errors(center, labels)
    return MemberCounts(verdicts, _errors(chances, labels), center_errors, differing)


def subsets_of(num_members: int) -> Sequence[tuple[int, ...]]:
    """Return the subsets of the members that are counted, the smallest first."""
    sizes = range(1, num_members + 1)
    if num_members > MOST_SUBSETS_MEMBERS:
        return [tuple(range(size)) for size in sizes]
    return [subset for size in sizes for subset in combinations(range(num_members), size)]


def _errors(chances: Tensor, labels: Tensor) -> Tensor:
    """Count the images [N,M,K] that each subset's average misjudges: int64, one per subset."""
    found = [
        (judge(chances[:, list(subset)].mean(1), labels).ranks > 0).sum()
        for subset in subsets_of(chances.shape[1])
    ]
    return torch.stack(found)
