"""Precision and recall of each class against all others, counted while batches stream."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

NUM_THRESHOLDS = 127
"""Thresholds on the probability, 0 to 1; TensorBoard takes no more."""

MOST_CLASSES = 1000
"""Above that nothing is counted: the counts would take more than 2 MB."""


@dataclass(frozen=True)
class ClassCurve:
    """The curve of one class, one value per threshold, ascending.

    label: the class; None: all classes together, each image counted once for each class. rows:
    true positives, false positives, true negatives, false negatives, precision, recall.
    """

    label: int | None
    rows: tuple[list[float], ...]

    @property
    def average_precision(self) -> float:
        """Mean precision over the recalls that the thresholds give, 0 to 1."""
        precision, recall = self.rows[4], [*self.rows[5], 0.0]
        return sum(p * (recall[i] - recall[i + 1]) for i, p in enumerate(precision))

    @classmethod
    def of(cls, label: int | None, hits: Tensor, others: Tensor) -> Self:
        """Make the curve of images per bin of probability, int64 [T]: of the class, and others."""
        positives, negatives = (
            counts.double().flip(0).cumsum(0).flip(0) for counts in (hits, others)
        )
        missed = positives[0] - positives
        precision = positives / (positives + negatives).clamp_min(1)
        recall = positives / positives[0].clamp_min(1)
        columns = (positives, negatives, negatives[0] - negatives, missed, precision, recall)
        return cls(label, tuple(column.tolist() for column in columns))


class PrecisionRecall:
    """Counts the images of a class, and the others, in each bin of that class's probability.

    The counts stay on the device, which nothing waits for; they add up over processes.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: Tensor | None = None
        """int64 [2,K,T]: images of the class, images of other classes."""

    def __call__(self, labels: Tensor, probabilities: Tensor) -> None:
        """Add labels [N] and probabilities [N,M,V,K] of a batch."""
        if self.num_classes > MOST_CLASSES:
            return
        averaged = probabilities.mean((1, 2))  # [N,K]
        bins = (averaged * (NUM_THRESHOLDS - 1)).long().clamp(0, NUM_THRESHOLDS - 1)
        classes = torch.arange(self.num_classes, device=labels.device)
        is_other = (labels[:, None] != classes).long()

        places = ((is_other * self.num_classes + classes) * NUM_THRESHOLDS + bins).flatten()
        if self.counts is None:
            size = (2, self.num_classes, NUM_THRESHOLDS)
            self.counts = torch.zeros(size, dtype=torch.int64, device=labels.device)
        self.counts.view(-1).scatter_add_(0, places, torch.ones_like(places))


def curves(counts: Tensor, most: int) -> list[ClassCurve]:
    """Return the curve of all classes together, then those of at most `most` classes.

    counts: int64 [2,K,T]. Classes without an image have no curve. Where there are more than `most`,
    the ones with the lowest average precision are chosen.
    """
    hits, others = counts.cpu()
    labels = hits.sum(1).nonzero()[:, 0].tolist()
    found = [ClassCurve.of(label, hits[label], others[label]) for label in labels]
    if len(found) > most:
        found = sorted(found, key=lambda curve: curve.average_precision)[:most]
    return [ClassCurve.of(None, hits.sum(0), others.sum(0)), *found]
