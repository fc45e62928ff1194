"""Checksums of a file's blocks: a part of a large file is checked without reading the rest.

CRC-32: it finds accidental damage at almost no cost. `verify=true` compares the SHA-256 of whole
files.
"""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20
MOST_CHECKED = 256
"""Blocks that are read at most when a Store is opened: a sample of a large one."""

_DIGITS = 8


class BlockSums:
    """The checksums of a file that is written in pieces of any size."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._sum, self._num_bytes = 0, 0

    def update(self, part: Any) -> None:
        """Add the next bytes of the file: anything with a buffer."""
        rest = memoryview(part).cast("B")
        while len(rest):
            piece = rest[: BLOCK_BYTES - self._num_bytes]
            self._sum = zlib.crc32(piece, self._sum)
            self._num_bytes += len(piece)
            rest = rest[len(piece) :]
            if self._num_bytes == BLOCK_BYTES:
                self._finish()

    def text(self) -> str:
        """Return all sums so far, eight digits each."""
        if self._num_bytes:
            self._finish()
        return "".join(self._done)

    def _finish(self) -> None:
        self._done.append(f"{self._sum:0{_DIGITS}x}")
        self._sum, self._num_bytes = 0, 0


def num_blocks(num_bytes: int) -> int:
    """Return how many blocks a file has."""
    return -(-num_bytes // BLOCK_BYTES)


def damaged_in_sample(
    files: Sequence[tuple[Path, str]], most_checked: int = MOST_CHECKED
) -> list[Path]:
    """Compare up to `most_checked` blocks of (file, sums); return the files with a wrong one.

    Each call draws another sample, so that more is checked with every opening.
    """
    places = [(path, text, k) for path, text in files for k in range(len(text) // _DIGITS)]
    if len(places) > most_checked:
        places = random.SystemRandom().sample(places, most_checked)
    return list(dict.fromkeys(path for path, text, k in places if not _is_right(path, text, k)))


def _is_right(path: Path, text: str, number: int) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(number * BLOCK_BYTES)
            found = zlib.crc32(file.read(BLOCK_BYTES))
    except FileNotFoundError:
        return False
    return f"{found:0{_DIGITS}x}" == text[number * _DIGITS : (number + 1) * _DIGITS]
