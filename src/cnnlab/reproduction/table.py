"""reproduction.json of an output folder: the rows of this call among those of earlier ones."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cnnlab.errors import DataError
from cnnlab.files import regular

NAME = "reproduction.json"
FACTS = ("command", "time", "device", "versions", "git")
"""Of a call; each row of it has them, since its neighbors may come from other days and machines."""

Rows = list[dict[str, Any]]


def earlier_rows(folder: Path, show: Callable[[dict[str, Any]], object]) -> Rows:
    """Return the rows that earlier calls have written; none without a file.

    show: makes the page of a document; tried here, since a row that it cannot show would end the
    command after all its trainings. Raises DataError for a file that holds no such table.
    """
    path = folder / NAME
    if not path.exists():
        return []

    try:
        document = regular.read_json(path)
        rows = merged([_complete(row, document) for row in document["claims"]], [], {})
        show(dict.fromkeys(FACTS) | {"claims": rows})
        return rows
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise DataError(
            "the table of earlier calls is damaged",
            str(path),
            "move it away, or choose another folder: output=FOLDER",
        ) from error


def _complete(row: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the scale and facts of its call where an earlier version left them out."""
    facts = {key: document.get(key) for key in FACTS}
    whole = {"scale": document["scale"], "call": facts} | row
    for key in ("name", "scale", "verdict", "sentence", "source"):
        if not isinstance(whole[key], str):
            raise TypeError(key)
    return whole


def merged(earlier: Rows, fresh: Sequence[dict[str, Any]], facts: dict[str, Any]) -> Rows:
    """Return one row for each claim and scale, by name: the newest one.

    facts: of this call. What a row was measured with is in its `settings` and `call`.
    """
    rows = {(row["name"], row["scale"]): row for row in earlier}
    call = {key: facts.get(key) for key in FACTS}
    rows |= {(row["name"], row["scale"]): row | {"call": call} for row in fresh}
    return [rows[key] for key in sorted(rows)]


def by_year(rows: Rows) -> Rows:
    """Return the rows by the year of their source, then by name; those without a year last."""
    return sorted(rows, key=lambda row: (_year(row["source"]), row["name"]))


def _year(source: str) -> int:
    found = re.search(r"\b(?:19|20)\d\d\b", source)
    return int(found[0]) if found else 9999
