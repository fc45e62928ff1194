"""The table of figures in docs/papers.md, made from the results of figures.py."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scipy.special import stdtrit

Row = dict[str, Any]


def line(row: Row) -> str:
    """Return one run as text."""
    told = f"{row['network']} on {row['set']}, seed {row['seed']}, {row['epochs']} epochs"
    return f"{told}: test error {100 * row['test_error']:.2f} %, {row['seconds']:.0f} s"


def render(machine: dict[str, Any], rows: list[Row], source: str) -> list[str]:
    """Return the Markdown lines: a row per network and dataset."""
    ends = sorted(row["ended"][:10] for row in rows)
    lines = [
        f"Measured {' to '.join(dict.fromkeys((ends[0], ends[-1])))} on {machine['cores']} cores "
        f"of {machine['processor']}, torch {machine['torch']}. Test error: mean over the seeds "
        f"with its 95 % interval (Student's t, from three seeds on), lowest and highest; processor "
        f"time of one run. "
        f"All figures: [{source}](results/{source}).",
        "",
        "| network | dataset | epochs | seeds | test error | lowest, highest | processor time "
        "| `cnnlab train` |",
        "|---" * 8 + "|",
    ]
    for network, images in dict.fromkeys((row["network"], row["set"]) for row in rows):
        own = [row for row in rows if (row["network"], row["set"]) == (network, images)]
        lines.append(f"| {network} | {images} | {' | '.join(cells(own))} |")
    return lines


def cells(rows: list[Row]) -> list[str]:
    """Return the cells of one network on one dataset."""
    errors = [100 * row["test_error"] for row in rows]
    seconds = [row["processor_seconds"] for row in rows if row["processor_seconds"] is not None]
    return [
        str(rows[0]["epochs"]),
        str(len(rows)),
        mean_with_interval(errors),
        f"{min(errors):.2f}, {max(errors):.2f} %",
        f"{statistics.mean(seconds):.0f} s" if seconds else "-",
        f"`{' '.join(rows[0]['words'])}`",
    ]


def mean_with_interval(values: Sequence[float]) -> str:
    """Return the mean in percent, with the half-width of its interval from three values on.

    The interval of two says nothing: it is nine times as wide as they are apart.
    """
    mean = f"{statistics.mean(values):.2f}"
    if len(values) < 3:
        return f"{mean} %"
    return f"{mean} ± {half_width(values):.2f} %"


def half_width(values: Sequence[float]) -> float:
    """Return half the 95 % interval of the mean of at least two values (Student's t)."""
    point = float(stdtrit(len(values) - 1, 0.975))
    return point * statistics.stdev(values) / math.sqrt(len(values))
