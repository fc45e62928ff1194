"""The numbers of a picture as files beside it: JSON as they are, CSV as one value per line."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from cnnlab.plain_json import json_text
from cnnlab.safe_output import csv_cell

COLUMNS = ("quantity", "index", "value")


def plain(values: Tensor) -> list[Any]:
    """Return a tensor as nested lists; floats with the seven digits that float32 has."""
    found: list[Any] = _rounded(values.detach().cpu().tolist())
    return found


def as_json(name: str, title: str, caption: str, facts: dict[str, Any]) -> bytes:
    """Return a picture's words and numbers as one JSON object on one line."""
    document = {"picture": name, "title": title, "caption": caption, "numbers": facts}
    return f"{json_text(document, indent=None)}\n".encode()


def as_csv(facts: dict[str, Any]) -> bytes:
    """Return the numbers with one value per line, whatever their shape.

    quantity: keys joined by dots. index: the place in nested lists, from 0, joined by dots; empty
    for a single value. An empty value: there is none.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for keys, places, value in _values(facts, (), ()):
        row = (".".join(keys), ".".join(map(str, places)), value)
        writer.writerow([csv_cell(cell) for cell in row])
    return stream.getvalue().encode()


def _values(
    value: Any, keys: tuple[str, ...], places: tuple[int, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], Any]]:
    """Yield every single value of plain data with its keys and its place in lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _values(item, (*keys, str(key)), places)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _values(item, keys, (*places, place))
    else:
        yield keys, places, value


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value
