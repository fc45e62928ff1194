"""The header of a checkpoint: names, dtypes and offsets of the tensors, and a JSON document.

It has the safetensors layout, written so that the same content gives the same bytes, and read
strictly: a header that `build` would not have written is refused. No torch here.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from cnnlab.errors import CheckpointError, NumericsError
from cnnlab.files.checksummed import BLANK_DIGEST

FORMAT_VERSION = 1
ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2}
ITEM_BYTES |= {"I32": 4, "F32": 4, "I64": 8, "F64": 8}
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
MAX_DEPTH = 64
MOST_DIGITS = 20
"""Digits of an integer: seeds have 64 bits, and no figure is larger."""

_MAX_SIDE = 1 << 40
_METADATA = "__metadata__"


@dataclass(frozen=True)
class Entry:
    """One tensor: its name, safetensors dtype, shape, and offset in the data after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int = 0

    @property
    def num_bytes(self) -> int:
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.start + self.num_bytes


def place(entries: Iterable[Entry]) -> list[Entry]:
    """Assign offsets: the widest dtypes first, so that each is aligned, then by name."""
    placed, start = [], 0
    for entry in sorted(entries, key=lambda entry: (-ITEM_BYTES[entry.dtype], entry.name)):
        placed.append(Entry(entry.name, entry.dtype, entry.shape, start))
        start = placed[-1].end
    return placed


def build(placed: list[Entry], document: dict[str, Any]) -> bytes:
    """Return the header with a blank digest, padded with spaces to a multiple of 8 bytes.

    document: plain data (dicts with string keys, lists, strings, finite numbers, booleans, None).
    Raises NumericsError naming the key of a number that is not finite, TypeError for other data.
    """
    check_plain(document)
    header: dict[str, Any] = {
        _METADATA: {"sha256": BLANK_DIGEST.decode(), "cnnlab": _compact(document)}
    }
    for entry in placed:
        assert entry.name not in header, entry.name
        places = [entry.start, entry.end]
        header[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": places}
    text = _compact(header).encode()
    return text + b" " * (-len(text) % 8)


def parse(header: bytes, data_bytes: int, where: str) -> tuple[list[Entry], dict[str, Any]]:
    """Return the tensors in file order and the document of a header made by `build`.

    Raises CheckpointError for a header that is malformed or written by a newer cnnlab, for too many
    tensors, and for a tensor that is not exactly where its size and order put it. Nothing is
    allocated by a claimed size.
    """
    try:
        claimed = _loads(header.decode())
        document = _loads(claimed.pop(_METADATA)["cnnlab"])
        _check_version(document, where)
        entries = [_entry(name, claims) for name, claims in claimed.items()]
        _require(len(entries) <= MAX_TENSORS, f"more than {MAX_TENSORS} tensors")
        canonical = build(place(entries), document) == header
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, NumericsError) as e:
        reason = str(e) if isinstance(e, ValueError) else type(e).__name__
        raise CheckpointError("the checkpoint's header is malformed", where, reason[:200]) from e

    total = sum(entry.num_bytes for entry in entries)
    if not canonical or total != data_bytes:
        raise CheckpointError("the checkpoint's tensors are not where its header puts them", where)
    return place(entries), document


def check_plain(value: Any, where: str = "", depth: int = 0) -> None:
    """Check that JSON can hold the value unchanged, key by key; raises as `build` does."""
    if depth > MAX_DEPTH:
        raise TypeError(f"the document is nested deeper than {MAX_DEPTH} at {where[:80]}")

    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"key {key!r} of the document at {where!r} is not a string")
            check_plain(item, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]", depth + 1)
    elif type(value) is float and not math.isfinite(value):
        raise NumericsError(f"{where} is {value} and is not saved")
    elif value is not None and type(value) not in (str, int, float, bool):
        raise TypeError(f"{where} of the document is a {type(value).__name__}, not plain data")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _loads(text: str) -> dict[str, Any]:
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        parse_int=_bounded,
    )
    _require(isinstance(value, dict), "it is not a mapping")
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # raises for half of a surrogate pair
    return dict(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    _require(len(mapping) == len(pairs), "a key occurs twice")
    return mapping


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    _require(math.isfinite(number), "a number is too large")
    return number


def _bounded(text: str) -> int:
    _require(len(text) <= MOST_DIGITS, "an integer is too long")
    return int(text)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _check_version(document: dict[str, Any], where: str) -> None:
    version = document.get("format_version")
    _require(type(version) is int and version >= 1, "it has no format version")
    if version > FORMAT_VERSION:  # type: ignore[operator]
        raise CheckpointError(
            f"the checkpoint was written by a newer cnnlab (format {version})",
            where,
            f"this one reads formats up to {FORMAT_VERSION}: update cnnlab",
        )


def _entry(name: str, claims: Any) -> Entry:
    _require(isinstance(claims, dict) and claims.get("dtype") in ITEM_BYTES, "an unknown type")
    shape = claims.get("shape")
    _require(isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS, "an impossible shape")
    _require(all(type(n) is int and 0 <= n <= _MAX_SIDE for n in shape), "an impossible shape")
    return Entry(name, claims["dtype"], tuple(shape))
