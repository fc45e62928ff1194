"""Figures of merit as counts and sums that add up; rates are taken once, at the end.

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
"""Up to so many classes the confusion matrix is kept: 200 MB; of 65,536 it would take 34 GB."""

SMALLEST_CHANCE = torch.finfo(torch.float32).tiny
"""Floor of a probability inside a logarithm: one image costs at most 87.3 nats."""


@dataclass(frozen=True)
class Verdicts:
    """What is kept of each image: tensors [N] on the device that answered."""

    labels: Tensor
    predicted: Tensor
    ranks: Tensor
    """Classes placed before the true one: 0 is a hit, 5 and more a top-5 error."""
    confidences: Tensor
    """Largest probability."""
    label_chances: Tensor
    """Probability of the true class."""


def judge(chances: Tensor, labels: Tensor) -> Verdicts:
    """Compare probabilities [N,K] with labels [N]; no wait for the device.

    Ties: of classes with equal probability the one with the lower index is placed first, in the
    prediction and in the rank alike, on every device.
    """
    label_chances = chances.gather(1, labels[:, None])
    index = torch.arange(chances.shape[1], device=chances.device)
    ahead = (chances > label_chances) | ((chances == label_chances) & (index < labels[:, None]))
    confidences, predicted = chances.max(dim=1)
    return Verdicts(labels, predicted, ahead.sum(1), confidences, label_chances[:, 0])


JUDGED_AT_ONCE = 1 << 16
"""Probabilities: a judgement is ten small operations, which take as long for one batch."""


class Jury:
    """Takes answers batch by batch and judges many batches at once."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._num_waiting = 0
        self._judged: list[Verdicts] = []

    def hear(self, chances: Tensor, labels: Tensor) -> None:
        """Take probabilities [N,K] and labels [N] of a batch."""
        self._waiting.append((chances, labels))
        self._num_waiting += chances.numel()
        if self._num_waiting >= JUDGED_AT_ONCE:
            self._judge()

    def verdicts(self) -> Verdicts | None:
        """Return what was heard, in order and on the CPU; None without an image."""
        self._judge()
        return join(self._judged) if any(len(part.labels) for part in self._judged) else None

    def _judge(self) -> None:
        if self._waiting:
            chances, labels = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
            self._judged.append(judge(chances, labels))
            self._waiting, self._num_waiting = [], 0


def join(parts: list[Verdicts]) -> Verdicts:
    """Join the verdicts of consecutive batches, on the CPU."""
    names = Verdicts.__dataclass_fields__
    return Verdicts(**{name: torch.cat([getattr(p, name) for p in parts]).cpu() for name in names})


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts (integers) and sums (float64) over judged images; adds up with +."""

    num_images: int
    top1_errors: int
    top5_errors: int
    cross_entropy_sum: float
    class_images: Tensor
    """int64 [K]: images of each class."""
    class_hits: Tensor
    """int64 [K]: those of them that were named rightly."""
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
        """Fraction of images whose first guess is wrong."""
        return self._per_image(self.top1_errors)

    @property
    def top5_error(self) -> float:
        """Fraction whose class is not among the first five; 0 where there are at most five."""
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
        """Share of hits of each class; None where the images hold none of it."""
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


def count(verdicts: Verdicts, num_classes: int) -> Tally:
    """Count joined verdicts (CPU).

    Raises NumericsError where a probability is not a number: it would pass for a hit or a miss.
    """
    check_finite(verdicts.confidences + verdicts.label_chances)
    confidences, hits = verdicts.confidences.double(), verdicts.ranks == 0
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidences, edges)
    losses = -verdicts.label_chances.double().clamp_min(SMALLEST_CHANCE).log()
    return Tally(
        num_images=len(verdicts.labels),
        top1_errors=int((~hits).sum()),
        top5_errors=int((verdicts.ranks >= 5).sum()),
        cross_entropy_sum=math.fsum(losses.tolist()),
        class_images=torch.bincount(verdicts.labels, minlength=num_classes),
        class_hits=torch.bincount(verdicts.labels[hits], minlength=num_classes),
        confusion=_confusion(verdicts, num_classes),
        bin_counts=torch.bincount(bins, minlength=NUM_BINS),
        bin_hits=torch.bincount(bins[hits], minlength=NUM_BINS),
        bin_confidence_sums=torch.bincount(bins, weights=confidences, minlength=NUM_BINS),
    )


def _confusion(verdicts: Verdicts, num_classes: int) -> Tensor | None:
    """Count (truth, prediction) pairs: int64 [K,K]; None where it would take gigabytes."""
    if num_classes > MOST_CONFUSED_CLASSES:
        return None
    pairs = verdicts.labels * num_classes + verdicts.predicted
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
