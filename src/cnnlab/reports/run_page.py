"""The report of a training run: what its test found, its curves, and what it has learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnlab.config.ema import EMA
from cnnlab.percentages import percent
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.curves import Epochs, loss_and_error
from cnnlab.reports.page import Part, Section, Text
from cnnlab.reports.sections import Findings

MADE_BY = ("device", "started", "ended", "host", "platform", "num_processors", "versions", "git")
"""What run.json knows of the machine."""


def write(
    folder: Path,
    found: Findings,
    facts: Mapping[str, Any],
    config: dict[str, Any],
    epochs: Epochs,
    kernels: Section,
    inside: Sequence[Section],
) -> Path:
    """Write report.html into the run folder; return its path.

    facts: run.json. epochs: the rows of metrics.csv. kernels: of the first layer. inside: what the
    network has learned besides.
    """
    page = [
        Section("Test figures", _test_figures(found, facts), half=True),
        kernels,
        Section("Curves", [sections.figure(picture) for picture in loss_and_error(epochs)]),
        sections.confusion(found),
        sections.misses(found),
        sections.classes(found),
        sections.calibration(found.tally),
        *inside,
        sections.settings(config),
        sections.environment(
            {key: facts[key] for key in MADE_BY if key in facts}, str(facts.get("command", ""))
        ),
    ]

    title = f"{facts.get('model')} on {facts.get('dataset')}: {folder.name}"
    return report.write(folder / "report.html", title, page)


def _test_figures(found: Findings, facts: Mapping[str, Any]) -> list[Part]:
    parts: list[Part] = [
        Text(f"{found.description}; seed {facts.get('seed')}"),
        sections.errors(found.tally),
    ]

    best = facts.get("best_validation_error")
    if isinstance(best, float):
        averaged = " with averaged weights" if facts.get("which_weights") == EMA else ""
        chose = f"which chose the network tested{averaged}"
        parts.append(Text(f"best validation error {percent(best)}, {chose}"))
    return parts
