"""reproduction.html: each claim with what was published and measured, as the page shows it."""

import math
from typing import Any

from cnnlab.reports.claims_page import ArmRow, Card, ClaimsPage, Line
from cnnlab.reproduction.rows import NONE, UNMEASURED, cells, curve, figure, note, tried
from cnnlab.reproduction.table import by_year
from cnnlab.reproduction.verdict import FAILS, HOLDS

TITLE = "The claims, measured here"
HOW_TO_READ = (
    "Each line is an interval of 95 %, drawn at its own scale: the dot is the mean, the vertical "
    "line no effect or the published level, and to its right the claim holds. Differences of "
    "percentages are in percentage points. The smallest visible effect is half the width: a claim "
    "is undecided where the interval reaches over the vertical line."
)
MARKS = (
    "A published figure was read in its source or a copy of it, computed from published layers, or "
    "quoted from memory, as its mark says."
)


def page_of(document: dict[str, Any]) -> ClaimsPage:
    """Return the page of a document."""
    rows = by_year(document["claims"])
    scales = sorted({row["scale"] for row in rows}, reverse=True)
    return ClaimsPage(
        TITLE,
        [*(f"{note(scale)}." for scale in scales), HOW_TO_READ, MARKS],
        [_card(row) for row in rows],
        f"{document['command']}\n{document['time']}, {document['device']}",
    )


def _card(row: dict[str, Any]) -> Card:
    _, published, log, measured, smallest, verdict = cells(row)
    note_of_scale = row.get("note")
    facts = [("published", published), ("author's log", log), ("measured", measured)]
    facts += [("of what", of_what(row))]
    facts += [("with", with_what(row))] if row["arms"] else []
    facts += [("smallest visible", smallest)] if smallest != NONE else []
    facts += [("at this scale", note_of_scale)] if note_of_scale else []

    call = row["call"]
    found = [(arm["name"], tried(arm), curve(arm)) for arm in row["arms"]]
    searched = [("chosen", f"{name}: {text}") for name, text, _ in found if text]
    curves = [("when rejecting", f"{name}: {text}") for name, _, text in found if text]
    more = [
        ("arms differ in", ", ".join(row["differs_in"]) or NONE),
        *searched,
        *curves,
        ("refuted by", row["refuted_by"]),
        ("measured on", f"{call['time']}, {call['device']}"),
    ]
    again = f"cnnlab reproduce scale={row['scale']} claims={row['name']}"
    return Card(
        row["name"],
        row["sentence"],
        row["source"],
        verdict,
        tone_of(verdict),
        line_of(row),
        _short(published, measured),
        facts,
        more,
        [ArmRow(_arm_cells(row, arm), arm["command"], arm.get("runs", ())) for arm in row["arms"]],
        again,
    )


def _short(published: str, measured: str) -> list[str]:
    named = [("published", published), ("measured", measured)]
    return [f"{name} {text}" for name, text in named if text != NONE]


def of_what(row: dict[str, Any]) -> str:
    """Return what the measured figure is: the metric, and which arms are compared how.

    `test error: sgd minus levenberg_marquardt`; other sums are in the table of the arms.
    """
    target = f", target {row['target']:g}" if row["target"] else ""
    factors = {arm["name"]: arm.get("factor") for arm in row["arms"] if arm.get("factor")}
    if sorted(factors.values()) != [-1, 1]:
        return str(row["metric"]) + target

    more, less = sorted(factors, key=factors.__getitem__, reverse=True)
    is_ratio = row["difference"] is not None and row["difference"]["statistic"] == "ratio"
    return f"{row['metric']}{target}: {more} {'divided by' if is_ratio else 'minus'} {less}"


def with_what(row: dict[str, Any]) -> str:
    """Return networks and image sets of all arms, each once."""
    networks = dict.fromkeys(arm["network"] for arm in row["arms"])
    sets = dict.fromkeys(arm["set"] for arm in row["arms"] if "set" in arm)
    return "; ".join([", ".join(networks), *sets])


def tone_of(verdict: str) -> str:
    """Return which kind of verdict it is."""
    if verdict.startswith(UNMEASURED):
        return "unmeasured"
    return {HOLDS: "holds", FAILS: "fails"}.get(verdict, "undecided")


def line_of(row: dict[str, Any]) -> Line | None:
    """Return the interval, positive where the claim holds, in units of its farther end."""
    compared = row["difference"]
    if compared is None or compared["low"] is None:
        return None

    ends = [float(compared[key]) for key in ("low", "mean", "high")]
    if compared["statistic"] == "ratio":
        ends = [math.log(end) for end in ends]
    if compared["statistic"] == "level":
        (arm,) = row["arms"]
        ends = sorted(arm["factor"] * (end - compared["level"]) for end in ends)
    farther = max(abs(end) for end in ends)
    return Line(*(end / farther for end in ends)) if farther else Line(0, 0, 0)


def _arm_cells(row: dict[str, Any], arm: dict[str, Any]) -> list[str]:
    if row["difference"] is None:
        figures = ", ".join(figure(value, row["unit"]) for value in arm["figures"])
        return [arm["name"], arm["network"], NONE, figures, NONE]

    mean = figure(arm["mean"], row["unit"])
    if arm["half_width"] is not None:
        mean += f" \u00b1 {figure(arm['half_width'], row['unit'])}"
    return [arm["name"], arm["network"], arm["set"], mean, f"{arm['factor']:g}"]
