"""Means with 95 % intervals by Student's t: of paired differences, or of several seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of n values and its 95 % interval.

    half_width: of paired differences, the smallest one that could have been told from none; None
    for a single value.
    """

    mean: float
    half_width: float | None
    num_values: int

    @property
    def low(self) -> float | None:
        """The lower end."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """The upper end."""
        return None if self.half_width is None else self.mean + self.half_width


def interval(values: Sequence[float]) -> Interval:
    """Return mean and interval of values that are independent: one per seed, or per image."""
    number = len(values)
    mean = math.fsum(values) / number
    if number < 2:
        return Interval(mean, None, number)

    variance = math.fsum((value - mean) ** 2 for value in values) / (number - 1)
    return Interval(mean, critical_t(number - 1) * math.sqrt(variance / number), number)


def critical_t(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return t such that |T| < t with this probability, T having Student's t distribution."""
    low, high = 0.0, 1.0
    while share_within(high, degrees) < confidence:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if share_within(middle, degrees) < confidence else (low, middle)
    return high


def share_within(t: float, degrees: int) -> float:
    """Return the probability that |T| < t, with `degrees` degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4, finite sums for whole degrees.
    """
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    is_odd = degrees % 2 == 1

    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for number in range(1 if is_odd else 0, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (number + 1) / (number + 2)
        if term < 1e-18 * total:
            break  # what follows is smaller still
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
