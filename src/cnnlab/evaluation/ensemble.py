"""What members are worth together: every subset, and how often two of them differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from cnnlab.evaluation.metrics import Tally, count, judge

MOST_SUBSETS_MEMBERS = 8
"""Up to so many members every subset is counted (255); of more, the first 1, 2, 3 ... members."""


@dataclass(frozen=True)
class SubsetErrors:
    """Top-1 errors of all ensembles of one size, as fractions."""

    size: int
    num_subsets: int
    mean: float
    lowest: float
    highest: float


def tally_of(chances: Tensor, labels: Tensor) -> Tally:
    """Count probabilities [N,K] against labels [N], both on the CPU."""
    return count(judge(chances, labels), chances.shape[1])


def subset_errors(chances: Tensor, labels: Tensor) -> list[SubsetErrors]:
    """Average probabilities [N,M,K] over every subset of members, and sum up by size 1..M.

    Members weigh the same. Source: Krizhevsky et al. 2012, section 6 (1 CNN, 5 CNNs, 7 CNNs).
    """
    num_members = chances.shape[1]
    return [_of_size(chances, labels, size) for size in range(1, num_members + 1)]


def disagreement(chances: Tensor) -> Tensor:
    """Return for members i and j the share of images they name differently: float64 [M,M].

    chances: [N,M,K].
    """
    predicted = chances.argmax(2)
    differs = predicted[:, :, None] != predicted[:, None, :]
    return differs.double().mean(0)


def _of_size(chances: Tensor, labels: Tensor, size: int) -> SubsetErrors:
    errors = [
        _top1_error(chances[:, list(subset)].mean(1), labels)
        for subset in _subsets(chances.shape[1], size)
    ]
    return SubsetErrors(size, len(errors), sum(errors) / len(errors), min(errors), max(errors))


def _subsets(num_members: int, size: int) -> Sequence[tuple[int, ...]]:
    if num_members > MOST_SUBSETS_MEMBERS:
        return [tuple(range(size))]
    return list(combinations(range(num_members), size))


def _top1_error(chances: Tensor, labels: Tensor) -> float:
    return int((judge(chances, labels).ranks > 0).sum()) / len(labels)
