"""Read a PNG's chunks: whether each is intact, the bit depth, and the transparent color.

Pillow ignores a broken chunk when the pixels before it fill the picture or the rest inflates to
something, and compares a transparent gray of 2 or 4 bits with pixels that it has scaled to 8.
Source: PNG specification, 5.3 (chunk layout) and 11.3.2.1 (tRNS).
"""

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _COLOR = 0, 2


@dataclass(frozen=True)
class Png:
    """bit_depth: of a sample. transparent: the gray level that is transparent, or None.

    color_key: whether one color of a picture without a palette is transparent.
    """

    bit_depth: int
    transparent: int | None
    color_key: bool


def check(content: bytes) -> Png:
    """Check the CRC-32 of every chunk up to the end chunk. Raises ValueError for a wrong one."""
    place, view, key = len(SIGNATURE), memoryview(content), b""
    while True:
        head = content[place : place + 8]
        if len(head) < 8:
            raise ValueError("the end chunk is missing")

        size, kind = struct.unpack(">I4s", head)
        covered = view[place + 4 : place + 8 + size]
        stated = content[place + 8 + size : place + 12 + size]
        if len(stated) < 4:
            raise ValueError(f"chunk {_name(kind)} is cut off")
        if zlib.crc32(covered) != int.from_bytes(stated, "big"):
            raise ValueError(f"chunk {_name(kind)} is broken")

        if kind == b"IEND":
            break
        if kind == b"tRNS":
            key = bytes(covered[4:])
        place += 12 + size

    depth, color_type = content[24], content[25]
    gray = int.from_bytes(key[:2], "big") if key and color_type == _GRAY else None
    return Png(depth, gray, bool(key) and color_type == _COLOR)


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
