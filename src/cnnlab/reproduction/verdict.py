"""Whether a claim holds here, from the interval of its paired differences."""

import math
from collections.abc import Sequence

from cnnlab.config.claims import METRICS, ClaimConfig
from cnnlab.intervals import Interval, interval

HOLDS, FAILS, UNDECIDED = "holds", "does not hold here", "undecided"

TOLERANCE = 5e-5
"""Largest relative difference of a computed figure from the expected one: what its digits say."""


def contrast(factors: Sequence[float], figures: Sequence[Sequence[float]]) -> list[float]:
    """Return for each seed or image the sum of the arms' figures, each times its factor."""
    return [
        math.fsum(factor * value for factor, value in zip(factors, row, strict=True))
        for row in zip(*figures, strict=True)
    ]


def compare(
    claim: ClaimConfig, factors: Sequence[float], figures: Sequence[Sequence[float]]
) -> Interval:
    """Return the interval of what is above zero where the claim holds.

    With statistic=ratio of the logarithms: above zero is a ratio above one. With statistic=level of
    what lies between the arm and the level.
    """
    if claim.statistic == "level":
        assert claim.level is not None
        figures = [[value - claim.level for value in arm] for arm in figures]
    if claim.statistic == "ratio":
        figures = [[math.log(max(value, 1e-12)) for value in arm] for arm in figures]
    return interval(contrast(factors, figures))


def verdict(claim: ClaimConfig, found: Interval) -> str:
    """Return `holds` where the whole interval is above zero, `does not hold here` where below.

    Where not one pair differs nothing was to be seen, and an interval of no width says nothing.
    """
    unit = METRICS[claim.metric].per
    words = unit.removesuffix("s") if found.num_values == 1 else unit
    if found.low is not None and found.high is not None:
        if found.low > 0:
            return HOLDS
        if found.high < 0:
            return FAILS
    is_flat = found.num_values > 1 and found.mean == found.half_width == 0
    return f"{UNDECIDED} ({found.num_values:,} {words}{', none differs' if is_flat else ''})"


def exact(expected: Sequence[float], found: Sequence[float]) -> str:
    """Return whether computed figures are the expected ones, to the digits that were printed."""
    same = len(expected) == len(found) and all(
        math.isclose(one, other, rel_tol=TOLERANCE)
        for one, other in zip(expected, found, strict=True)
    )
    return HOLDS if same else FAILS
