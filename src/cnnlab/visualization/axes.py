"""Axes that people read: fractions in percent, and powers of ten as plain numbers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

LEAST_RATIO = 5.0
"""A logarithmic axis has two of the ticks 1, 2, 5, 10 ... from this ratio of its ends on."""

MOST_RATIO = 200.0
"""Above this the ticks 2 and 5 would be too close."""


def in_percent(axis: "Axis") -> None:
    """Label fractions in percent: 0.025 as 2.5 %."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))


def logarithmic(axes: "Axes", low: float, high: float) -> None:
    """Make the y axis logarithmic, where positive values from `low` to `high` fill it.

    Its ticks are plain numbers, 0.1, 0.2, 0.5, 1; with less than a factor of 5 it stays linear.
    """
    if low <= 0 or high / low < LEAST_RATIO:
        return
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    steps = (1.0, 2.0, 5.0) if high / low < MOST_RATIO else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_minor_formatter(NullFormatter())
    plain_numbers(axes.yaxis)


def plain_numbers(axis: "Axis") -> None:
    """Label numbers as they are: 0.02, 5, 1,000."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"
