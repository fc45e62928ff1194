"""JSON that every reader accepts: a NaN or an infinity is an error, and never written."""

import json
import math
from collections.abc import Iterator
from typing import Any

from cnnlab.errors import NumericsError


def json_text(document: Any, indent: int | None = 2) -> str:
    """Return plain data as JSON. Raises NumericsError naming the key of a NaN or an infinity."""
    if (key := first_not_finite(document)) is not None:
        raise NumericsError(f"{key} is not finite, and JSON has no such number")
    return json.dumps(document, indent=indent, allow_nan=False)


def first_not_finite(document: Any) -> str | None:
    """Return the key of the first NaN or infinity in plain data, or None."""
    found = (key for key, value in _numbers(document, "") if not math.isfinite(value))
    return next(found, None)


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """Yield every float of plain data with its key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{where}[{index}]")
    elif isinstance(value, float):
        yield where, value
