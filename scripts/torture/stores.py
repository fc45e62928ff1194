"""Damage to the files of a Store and of an interrupted preparation."""

import random
from collections.abc import Callable
from pathlib import Path


def damage(kind: str, path: Path) -> None:
    """Damage one file in place, or remove it."""
    DAMAGES[kind](path)


def flip(path: Path, place: int) -> None:
    """Flip some bits of one byte; `place` counts from the end where it is negative."""
    with open(path, "r+b") as file:
        content = file.read()
        if content:
            file.seek(place % len(content))
            file.write(bytes([content[place % len(content)] ^ 0x41]))


def cut(path: Path, num_bytes: int) -> None:
    """Cut a file to its first bytes; a negative number leaves out as many at the end."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(max(0, num_bytes if num_bytes >= 0 else size + num_bytes))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped_first": lambda path: flip(path, 0),
    "flipped_header": lambda path: flip(path, 20),
    "flipped_last": lambda path: flip(path, -9),
    "cut_end": lambda path: cut(path, -9),
    "emptied": lambda path: cut(path, 0),
    "removed": lambda path: path.unlink(missing_ok=True),
}


def random_damage(path: Path, draw: random.Random) -> str:
    """Damage a file somewhere; return how."""
    size = path.stat().st_size
    if draw.random() < 0.2:
        kept = draw.randrange(size)
        cut(path, kept)
        return f"cut to {kept} bytes"
    place = draw.randrange(size)
    flip(path, place)
    return f"byte {place} flipped"
