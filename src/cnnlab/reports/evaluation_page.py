"""The report of an evaluation, of one network or of an ensemble."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cnnlab.reports import sections
from cnnlab.reports.page import Part, Section, Table, Text
from cnnlab.reports.sections import Findings

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Columns and rows of a table, as text."""


def page(
    found: Findings,
    remarks: Sequence[str],
    members: Sequence[Section],
    first_layer: Tensor,
    config: dict[str, Any],
    facts: dict[str, Any],
    command: str,
) -> list[Section]:
    """Return the sections of the page, the most wanted first.

    remarks: shown below the errors. members: from `ensemble`; empty for one network.
    first_layer: weight of the (first) network's first layer. config: of its training.
    facts: when and where it was evaluated.
    """
    first: list[Part] = [Text(found.description), sections.errors(found.tally)]

    return [
        Section("Figures", [*first, *(Text(line) for line in remarks)], half=True),
        sections.kernels(first_layer),
        *members,
        sections.confusion(found),
        sections.misses(found),
        sections.classes(found),
        sections.calibration(found.tally),
        sections.settings(config, "Settings of the first network's training"),
        sections.environment(facts, command),
    ]


def ensemble(members: Rows, by_size: Rows, disagreement: Rows) -> list[Section]:
    """Return the members alone, ensembles by size, and how often two members differ."""
    sizes = "Top-1 error of all subsets of that size, equal weights: mean, lowest, highest."
    share = "Share of images that two members classify differently."
    return [
        Section("Members", [Table(*members)]),
        Section("Ensembles by size", [Text(sizes), Table(*by_size)], half=True),
        Section("Disagreement", [Text(share), Table(*disagreement)], half=True),
    ]
