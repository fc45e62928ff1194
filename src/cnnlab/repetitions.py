"""Runs that differ in their seed alone, put together: means with 95 % intervals, the best first."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab.intervals import CONFIDENCE, Interval, interval
from cnnlab.percentages import percent
from cnnlab.safe_output import csv_cell

DONE = "done"
CSV_COLUMNS = (
    *("settings", "seeds", "status", "n", "validation_error", "validation_half_width"),
    *("test_error", "test_half_width", "reason", "runs"),
)


@dataclass(frozen=True)
class Run:
    """What a table says of one run.

    name: the number of its job, or its folder. settings: its words key=value without the seed's.
    errors are fractions, None where none was measured. status: done, or how else it ended. reason:
    why it is not done.
    """

    name: str
    settings: tuple[str, ...]
    seed: str | None
    validation_error: float | None
    test_error: float | None
    status: str = DONE
    reason: str = ""


@dataclass(frozen=True)
class Group:
    """Runs with the same settings and other seeds; a run that is not done is a group of its own."""

    runs: tuple[Run, ...]

    @property
    def is_done(self) -> bool:
        """Return whether its figures are results."""
        return self.runs[0].status == DONE

    @property
    def validation(self) -> Interval | None:
        """The mean validation error and its interval over the seeds."""
        return _over_seeds(run.validation_error for run in self.runs)

    @property
    def test(self) -> Interval | None:
        """The mean test error and its interval over the seeds."""
        return _over_seeds(run.test_error for run in self.runs)

    def facts(self) -> dict[str, Any]:
        """Return the group as plain data for JSON."""
        first = self.runs[0]
        return {
            "settings": list(first.settings),
            "seeds": [run.seed for run in self.runs],
            "runs": [run.name for run in self.runs],
            "status": first.status,
            "reason": first.reason or None,
            "n": len(self.runs),
            "validation_error": _facts(self.validation),
            "test_error": _facts(self.test),
        }


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Return the groups by their mean validation error, the smallest first, failed runs last.

    The test error decides nothing: whoever chose by it would have no unseen images left. Groups
    without a validation error follow in the order of their runs. The same seed again is another
    group: its figures are no further evidence.
    """
    together: dict[Any, list[Run]] = {}
    times_seen: Counter[Any] = Counter()
    for number, run in enumerate(runs):
        times_seen[run.settings, run.seed] += 1
        key: Any = (run.settings, times_seen[run.settings, run.seed])
        together.setdefault(key if run.status == DONE else number, []).append(run)

    def place(group: Group) -> tuple[int, float]:
        if not group.is_done:
            return 2, 0.0
        return (1, 0.0) if group.validation is None else (0, group.validation.mean)

    return sorted((Group(tuple(each)) for each in together.values()), key=place)


def are_repeated(groups: Sequence[Group]) -> bool:
    """Return whether any settings were trained from several seeds."""
    return any(len(group.runs) > 1 for group in groups)


def table(groups: Sequence[Group], named: str) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of a table for people; `named`: what the names of the runs are.

    The settings that all groups share are left out, unless there is one group.
    """
    shared = shared_settings(groups)
    repeated = are_repeated(groups)
    counts = ["n"] if repeated else []
    rows = []
    for group in groups:
        first = group.runs[0]
        words = [word for word in first.settings if word not in shared]
        if not group.is_done or not repeated:  # of one run, which has one seed
            words += [f"seed={first.seed}"] if first.seed is not None else []
        names = ",".join(run.name for run in group.runs)
        number = [str(len(group.runs))] if repeated else []
        errors = [cell(group.validation), cell(group.test)]
        rows.append([names, " ".join(words), *number, *errors, first.status])
    return [named, "overrides", *counts, "validation", "test", "status"], rows


def remarks(groups: Sequence[Group], named: str) -> list[str]:
    """Return what stands below the table: shared settings, intervals, and why runs failed."""
    lines = []
    if shared := shared_settings(groups):
        lines.append(f"all of them: {' '.join(shared)}")
    if are_repeated(groups):
        share = f"{CONFIDENCE:.0%}".replace("%", " %")
        lines.append(f"± is half the {share} interval of a mean over n seeds (Student's t)")
    failed = [run for group in groups for run in group.runs if run.reason]
    return [*lines, *(f"{named} {run.name}: {run.reason}" for run in failed)]


def shared_settings(groups: Sequence[Group]) -> list[str]:
    """Return the settings of all groups, in order; none where there is one group alone."""
    if len(groups) < 2:
        return []
    first, *others = (group.runs[0].settings for group in groups)
    return [word for word in first if all(word in other for other in others)]


def cell(found: Interval | None) -> str:
    """Return '4.12 ± 0.31 %', '4.12 %' for a single run, '-' without a figure."""
    if found is None:
        return "-"
    if found.half_width is None:
        return percent(found.mean)
    return f"{100 * found.mean:.2f} ± {percent(found.half_width)}"


def csv_text(groups: Sequence[Group]) -> str:
    """Return one row per group; errors are fractions."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for group in groups:
        facts = group.facts()
        row = {
            **facts,
            "settings": " ".join(facts["settings"]),
            "seeds": " ".join(str(seed) for seed in facts["seeds"] if seed is not None),
            "runs": " ".join(facts["runs"]),
        }
        for name in ("validation", "test"):
            found = facts[f"{name}_error"] or {"mean": None, "half_width": None}
            row |= {f"{name}_error": found["mean"], f"{name}_half_width": found["half_width"]}
        writer.writerow([csv_cell(row[name]) for name in CSV_COLUMNS])
    return text.getvalue()


def _over_seeds(errors: Iterable[float | None]) -> Interval | None:
    """Return mean and interval; None where a run measured no such error."""
    known = list(errors)
    measured = [error for error in known if error is not None]
    return interval(measured) if measured and len(measured) == len(known) else None


def _facts(found: Interval | None) -> dict[str, float | None] | None:
    return None if found is None else {"mean": found.mean, "half_width": found.half_width}
