"""Metrics as counts and sums that add up; rates are computed once, at the end.

A Tally of the whole equals the sum of the Tallies of its parts, so batch size, a short last batch
and the number of processes change no count.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.numerics import check_finite

NUM_BINS = 15
"""Equal bins of confidence for calibration. Source: Guo et al. 2017, section 5."""

Z_95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""

MOST_CONFUSED_CLASSES = 5000
"""The most classes with a confusion matrix: 200 MB; of 65,536 classes it would take 34 GB."""

SMALLEST_PROBABILITY = torch.finfo(torch.float32).tiny
"""Floor of a probability inside a logarithm: one image costs at most 87.3 nats."""


@dataclass(frozen=True)
class ImageResults:
    """What is kept of each image: tensors [N] on the device that predicted."""

    labels: Tensor
    predicted: Tensor
    ranks: Tensor
    """Classes placed before the true one: 0 is correct, 5 and more a top-5 error."""
    confidences: Tensor
    """Largest probability."""
    label_probabilities: Tensor
    """Probability of the true class."""


def score(probabilities: Tensor, labels: Tensor) -> ImageResults:
    """Compare probabilities [N,K] with labels [N]; no wait for the device.

    Ties: of classes with equal probability the one with the lower index is placed first, in the
    prediction and in the rank alike, on every device.
    """
    of_label = probabilities.gather(1, labels[:, None])
    index = torch.arange(probabilities.shape[1], device=probabilities.device)
    ties = (probabilities == of_label) & (index < labels[:, None])
    ranks = ((probabilities > of_label) | ties).sum(1)

    confidences, predicted = probabilities.max(dim=1)
    return ImageResults(labels, predicted, ranks, confidences, of_label[:, 0])


SCORED_AT_ONCE = 1 << 16
"""Probabilities: `score` is ten small operations, which take as long for one batch."""


class PredictionBuffer:
    """Buffers predictions and scores them in larger chunks."""

    def __init__(self) -> None:
        self._buffer: list[tuple[Tensor, Tensor]] = []
        self._num_buffered = 0
        self._scored: list[ImageResults] = []

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add probabilities [N,K] and labels [N] of a batch."""
        self._buffer.append((probabilities, labels))
        self._num_buffered += probabilities.numel()
        if self._num_buffered >= SCORED_AT_ONCE:
            self._score()

    def results(self) -> ImageResults | None:
        """Return the results of all batches, in order and on the CPU; None without an image."""
        self._score()
        has_images = any(len(part.labels) for part in self._scored)
        return concatenate(self._scored) if has_images else None

    def _score(self) -> None:
        if self._buffer:
            probabilities, labels = (torch.cat(parts) for parts in zip(*self._buffer, strict=True))
            self._scored.append(score(probabilities, labels))
            self._buffer, self._num_buffered = [], 0


def concatenate(parts: list[ImageResults]) -> ImageResults:
    """Concatenate the results of consecutive batches, on the CPU."""
    names = ImageResults.__dataclass_fields__
    columns = {name: torch.cat([getattr(part, name) for part in parts]).cpu() for name in names}
    return ImageResults(**columns)


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts (integers) and sums (float64) over evaluated images; adds up with +."""

    num_images: int
    top1_errors: int
    top5_errors: int
    cross_entropy_sum: float
    class_images: Tensor
    """int64 [K]: images of each class."""
    class_hits: Tensor
    """int64 [K]: those of them that were classified correctly."""
    confusion: Tensor | None
    """int64 [K,K]: rows true classes, columns predictions; None above MOST_CONFUSED_CLASSES."""
    bin_counts: Tensor
    """int64 [15]: images by confidence, bins (0, 1/15], (1/15, 2/15] ... (14/15, 1]."""
    bin_hits: Tensor
    bin_confidence_sums: Tensor

    def __add__(self, other: "Tally") -> "Tally":
        sums: dict[str, Any] = {}
        for name in Tally.__dataclass_fields__:
            own, others = getattr(self, name), getattr(other, name)
            sums[name] = None if own is None or others is None else own + others
        return Tally(**sums)

    @property
    def top1_error(self) -> float:
        """Fraction of images whose most probable class is wrong."""
        return self._per_image(self.top1_errors)

    @property
    def top5_error(self) -> float:
        """Fraction whose class is not among the five most probable; 0 with at most five classes."""
        return self._per_image(self.top5_errors)

    @property
    def cross_entropy(self) -> float:
        """Mean of -ln(probability of the true class), in nats."""
        return self._per_image(self.cross_entropy_sum)

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % interval of the top-1 error."""
        return wilson_interval(self.top1_errors, self._at_least_one())

    @property
    def top5_interval(self) -> tuple[float, float]:
        """95 % interval of the top-5 error."""
        return wilson_interval(self.top5_errors, self._at_least_one())

    @property
    def class_accuracies(self) -> list[float | None]:
        """Accuracy of each class; None for classes without an image."""
        hits, totals = self.class_hits.tolist(), self.class_images.tolist()
        return [h / n if n else None for h, n in zip(hits, totals, strict=True)]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy over the bins.

        Source: Guo et al. 2017, equation 3.
        """
        gaps = (self.bin_hits.double() - self.bin_confidence_sums).abs().sum().item()
        return self._per_image(gaps)

    def _per_image(self, total: float) -> float:
        return total / self._at_least_one()

    def _at_least_one(self) -> int:
        if not self.num_images:
            raise DataError("there are no images to evaluate")
        return self.num_images


def count(results: ImageResults, num_classes: int) -> Tally:
    """Count the results of images, given on the CPU.

    Raises NumericsError where a probability is not a number: it would pass for right or wrong.
    """
    check_finite(results.confidences + results.label_probabilities)
    confidences, hits = results.confidences.double(), results.ranks == 0
    losses = -results.label_probabilities.double().clamp_min(SMALLEST_PROBABILITY).log()

    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidences, edges)

    return Tally(
        num_images=len(results.labels),
        top1_errors=int((~hits).sum()),
        top5_errors=int((results.ranks >= 5).sum()),
        cross_entropy_sum=math.fsum(losses.tolist()),
        class_images=torch.bincount(results.labels, minlength=num_classes),
        class_hits=torch.bincount(results.labels[hits], minlength=num_classes),
        confusion=_confusion(results, num_classes),
        bin_counts=torch.bincount(bins, minlength=NUM_BINS),
        bin_hits=torch.bincount(bins[hits], minlength=NUM_BINS),
        bin_confidence_sums=torch.bincount(bins, weights=confidences, minlength=NUM_BINS),
    )


def _confusion(results: ImageResults, num_classes: int) -> Tensor | None:
    """Count (truth, prediction) pairs: int64 [K,K]; None where it would take gigabytes."""
    if num_classes > MOST_CONFUSED_CLASSES:
        return None
    pairs = results.labels * num_classes + results.predicted
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def wilson_interval(num_errors: int, num_images: int, z: float = Z_95) -> tuple[float, float]:
    """Return the score interval of an error fraction, inside [0, 1] for any count.

    Source: Wilson 1927; unlike the normal interval it is right for errors near 0.
    """
    share, squared = num_errors / num_images, z * z / num_images
    center = (share + squared / 2) / (1 + squared)
    half = (
        z / (1 + squared) * math.sqrt(share * (1 - share) / num_images + squared / 4 / num_images)
    )
    return max(0.0, center - half), min(1.0, center + half)
