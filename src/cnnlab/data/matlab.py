"""Read the synset table out of a devkit's meta.mat: just enough of MATLAB's level 5 format.

Source: MathWorks, "MAT-File Format", level 5: tagged elements, 8-byte aligned, zlib inside.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnlab.errors import DataError
from cnnlab.printable import printable

_COMPRESSED, _MATRIX = 15, 14
_STRUCT_CLASS, _CHAR_CLASS = 2, 4
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 16: "u1"}
_HEADER_BYTES = 128
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Element:
    """A tagged piece: its type and its bytes."""

    kind: int
    content: bytes


def read_synsets(path: Path, id_field: str) -> dict[int, str]:
    """Return number -> synset of the leaf classes 1..1000. Raises DataError."""
    try:
        table = _read_struct(path.read_bytes()[_HEADER_BYTES:])
        numbers, names = table[id_field], table["WNID"]
        synsets = {int(str(n)): str(name) for n, name in zip(numbers, names, strict=True)}
        if len(synsets) != len(numbers):
            raise ValueError("a number stands for two synsets")
        return synsets
    except (OSError, KeyError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise DataError(
            f"cannot read the devkit's synsets: no {id_field} in it ({error})",
            printable(str(path)),
        ) from error


def elements(content: bytes) -> Iterator[Element]:
    """Yield the elements of a run of bytes, small ones and compressed ones included."""
    place = 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, place)
        if kind >> 16:  # up to four bytes in the tag itself
            yield Element(kind & 0xFFFF, content[place + 4 : place + 4 + (kind >> 16)])
            place += 8
            continue
        body = content[place + 8 : place + 8 + size]
        if len(body) != size:
            raise ValueError("truncated")
        if kind == _COMPRESSED:
            yield from elements(zlib.decompressobj().decompress(body, _MOST_BYTES))
            place += 8 + size
        else:
            yield Element(kind, body)
            place += 8 + size + -size % 8


def _read_struct(content: bytes) -> dict[str, list[object]]:
    """Return field -> values of the first struct array, in the order of its elements."""
    for element in elements(content):
        if element.kind != _MATRIX:
            continue
        parts = list(elements(element.content))
        if parts[0].content[0] != _STRUCT_CLASS:
            continue
        width = int(_numbers(parts[3])[0])
        raw = parts[4].content
        names = [
            raw[start : start + width].split(b"\0")[0].decode("ascii")
            for start in range(0, len(raw), width)
        ]
        values = [_read_value(part) for part in parts[5:]]
        return {name: values[item :: len(names)] for item, name in enumerate(names)}
    raise ValueError("no struct")


def _read_value(element: Element) -> object:
    """Return the text of a char array, else its first number, else None."""
    parts = list(elements(element.content))
    if len(parts) < 4:
        return None
    numbers = _numbers(parts[3])
    if parts[0].content[0] == _CHAR_CLASS:
        return "".join(chr(int(code)) for code in numbers)
    return int(numbers[0]) if len(numbers) else None


def _numbers(element: Element) -> np.ndarray:
    return np.frombuffer(element.content, dtype=_NUMBERS[element.kind])
