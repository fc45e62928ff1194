"""reproduction.html: the table of the claims, and each claim with its arms and commands."""

from typing import Any

from cnnlab.reports.page import Section, Table, Text
from cnnlab.reproduction.rows import COLUMNS, NONE, cells, figure, note, result


def sections(document: dict[str, Any]) -> list[Section]:
    """Return the sections of the page."""
    rows, scale = document["claims"], document["scale"]
    return [
        Section("Claims", [Text(note(scale)), Table(COLUMNS, [cells(row) for row in rows])]),
        *(Section(row["sentence"], _parts(row)) for row in rows),
        Section("Made by", [Text(document["command"], preformatted=True)]),
    ]


def _parts(row: dict[str, Any]) -> list[Any]:
    facts = [
        ["verdict", row["verdict"]],
        ["source", row["source"]],
        ["published", f"{row['published']} ({row['published_mark']})"],
        ["author's log", row["author_log"]],
        ["metric", row["metric"] + (f", target {row['target']:g}" if row["target"] else "")],
        ["measured", result(row)],
        ["arms differ in", ", ".join(row["differs_in"]) or NONE],
        ["refuted by", row["refuted_by"]],
    ]

    parts: list[Any] = [Table(["", ""], facts)]
    if row["arms"] and row["difference"] is not None:
        parts.append(Table(["arm", "network", "images", "mean", "factor"], _arms(row)))
    commands = [arm["command"] for arm in row["arms"]]
    commands.append(f"cnnlab reproduce claims={row['name']}")
    return [*parts, Text("\n".join(commands), preformatted=True)]


def _arms(row: dict[str, Any]) -> list[list[str]]:
    unit = "count" if row["difference"]["unit"] == "factor" else row["difference"]["unit"]
    return [
        [arm["name"], arm["network"], arm["set"], figure(arm["mean"], unit), f"{arm['factor']:g}"]
        for arm in row["arms"]
    ]
