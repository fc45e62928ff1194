"""Errors of every subset of an ensemble's members, and how often two members disagree.

Counted batch by batch: the probabilities of all images, members and classes would take gigabytes.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from cnnlab.evaluation.metrics import ImageResults, Tally, concatenate, count, score

MOST_SUBSETS_MEMBERS = 8
"""The most members whose subsets (255) are all counted; of more, the first 1, 2, 3 ... members."""

CENTER_VIEW = 4
"""Index of the central crop among five, ten and nine views."""

COUNTED_AT_ONCE = 1 << 20
"""Probabilities: counting is a few operations per subset, which take as long for one batch."""


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
    """Results of M members and errors of their subsets; adds up with +, in the images' order.

    All members of a subset have the same weight.
    Source: Krizhevsky et al. 2012, section 6 (1, 5, 7 CNNs).
    """

    results: tuple[ImageResults, ...]
    """Of each member alone, averaged over its views."""
    errors: Tensor
    """int64, one per subset: images that its average misclassifies."""
    center_errors: Tensor | None
    """The same from the central view alone; None where there was one view."""
    disagreements: Tensor
    """int64 [M,M]: images that two members classify differently."""

    def __add__(self, other: "MemberCounts") -> "MemberCounts":
        center = self.center_errors
        if center is not None and other.center_errors is not None:
            center = center + other.center_errors
        return MemberCounts(
            tuple(concatenate([a, b]) for a, b in zip(self.results, other.results, strict=True)),
            self.errors + other.errors,
            center,
            self.disagreements + other.disagreements,
        )

    def on_host(self) -> "MemberCounts":
        """Return the same on the CPU; waits for the device."""
        center = None if self.center_errors is None else self.center_errors.cpu()
        results = tuple(concatenate([each]) for each in self.results)
        return MemberCounts(results, self.errors.cpu(), center, self.disagreements.cpu())

    @property
    def num_images(self) -> int:
        """Images evaluated."""
        return len(self.results[0].labels)

    def tallies(self, num_classes: int) -> list[Tally]:
        """Return the counts of each member alone."""
        return [count(results, num_classes) for results in self.results]

    def by_size(self) -> list[SubsetErrors]:
        """Return the errors of the ensembles of 1, 2 ... M members, over all views."""
        return self._by_size(self.errors)

    def center_by_size(self) -> list[SubsetErrors]:
        """Return the same of the central view alone; empty where there was one view."""
        return [] if self.center_errors is None else self._by_size(self.center_errors)

    def disagreement(self) -> list[list[float]]:
        """Return for each two members the fraction of images that they classify differently."""
        shares: list[list[float]] = (self.disagreements.double() / self.num_images).tolist()
        return shares

    def _by_size(self, errors: Tensor) -> list[SubsetErrors]:
        by_size: dict[int, list[float]] = {}
        for subset, wrong in zip(subsets_of(len(self.results)), errors.tolist(), strict=True):
            by_size.setdefault(len(subset), []).append(wrong / self.num_images)
        return [
            SubsetErrors(size, len(found), sum(found) / len(found), min(found), max(found))
            for size, found in by_size.items()
        ]


@dataclass
class MemberObserver:
    """Count the errors of members and their subsets, as an observer of `evaluate`.

    All of it on the device, which nothing waits for until the counts are asked for.
    """

    _buffer: list[tuple[Tensor, ...]] = field(default_factory=list)
    _num_buffered: int = 0
    _counted: list[MemberCounts] = field(default_factory=list)

    def __call__(self, labels: Tensor, probabilities: Tensor) -> None:
        """Add labels [N] and probabilities [N,M,V,K] of a batch."""
        views = [probabilities.mean(2)]
        if probabilities.shape[2] > 1:
            views.append(probabilities[:, :, CENTER_VIEW])
        self._buffer.append((labels, *views))
        self._num_buffered += views[0].numel()
        if self._num_buffered >= COUNTED_AT_ONCE:
            self._count()

    @property
    def counts(self) -> MemberCounts | None:
        """The counts so far, on the CPU; None without an image. Waits for the device."""
        self._count()
        parts = [part.on_host() for part in self._counted]
        return functools.reduce(operator.add, parts) if parts else None

    def _count(self) -> None:
        if not self._buffer:
            return
        labels, *views = (torch.cat(parts) for parts in zip(*self._buffer, strict=True))
        self._buffer, self._num_buffered = [], 0
        if len(labels):
            self._counted.append(count_members(labels, *views))


def count_members(
    labels: Tensor, probabilities: Tensor, center: Tensor | None = None
) -> MemberCounts:
    """Count the errors of probabilities [N,M,K], and of the central view's, on labels [N]."""
    results = tuple(score(probabilities[:, m], labels) for m in range(probabilities.shape[1]))
    predicted = torch.stack([one.predicted for one in results], dim=1)
    disagreements = (predicted[:, :, None] != predicted[:, None, :]).sum(0)
    center_errors = None if center is None else _errors(center, labels)
    return MemberCounts(results, _errors(probabilities, labels), center_errors, disagreements)


def subsets_of(num_members: int) -> Sequence[tuple[int, ...]]:
    """Return the subsets of the members that are counted, the smallest first."""
    sizes = range(1, num_members + 1)
    if num_members > MOST_SUBSETS_MEMBERS:
        return [tuple(range(size)) for size in sizes]
    return [subset for size in sizes for subset in combinations(range(num_members), size)]


def _errors(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Count the images that each subset's average misclassifies: int64, one per subset.

    probabilities: [N,M,K]. labels: [N].
    """
    members = probabilities.unbind(1)  # a list of their numbers would have to be copied to a GPU
    found = [
        (score(torch.stack([members[m] for m in subset], 1).mean(1), labels).ranks > 0).sum()
        for subset in subsets_of(probabilities.shape[1])
    ]
    return torch.stack(found)
