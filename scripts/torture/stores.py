"""Damage to the files of a Store and of a preparation, before and while they are used."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab.data.prepared import open_splits
from cnnlab.data.store import Splits
from cnnlab.errors import DataError
from scripts.torture.command import call


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


SOURCE = (
    "dataset=synthetic",
    "dataset.num_train=40",
    "dataset.num_test=10",
    "dataset.num_classes=2",
    "dataset.image_size_pixels=24",
)


def attack(base: Path, tries_each: int, seed: int) -> dict[str, Any]:
    """Damage each file of a Store of either encoding, before it is opened and while it is in use.

    Returns how many were tried, how many were found, and those that ended in any other way than
    with an error that names a file; damage in use may change pixels unnoticed (`silent_in_use`).
    """
    draw, found = random.Random(seed), {"tried": 0, "named": 0, "silent_in_use": 0}
    problems: list[str] = []
    for encoding in ("uint8", "jpeg"):
        store = base / encoding
        outcome = call("prepare", *SOURCE, f"output={store}", f"encoding={encoding}")
        assert outcome.code == 0, outcome.errors
        for path in sorted(store.iterdir()):
            for number in range(2 * tries_each):
                copy = base / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(store, copy)
                _try(copy / path.name, number % 2 == 1, draw, found, problems)
    return {**found, "problems": problems}


def _try(
    path: Path, in_use: bool, draw: random.Random, found: dict[str, int], problems: list[str]
) -> None:
    found["tried"] += 1
    splits = open_splits(path.parent) if in_use else None
    if splits is not None:
        read_all(splits)
    how = f"{path.name} {random_damage(path, draw)}{' in use' if in_use else ''}"
    try:
        read_all(open_splits(path.parent) if splits is None else splits)
    except DataError as error:
        found["named"] += 1
        if path.name not in error.where:
            problems.append(f"{how}: {error}")
    except Exception as error:  # whatever else it is, it is a problem
        problems.append(f"{how}: {type(error).__name__}: {error}")
    else:
        if in_use:
            found["silent_in_use"] += 1
        elif path.name != "manifest.json":  # of which only the last line break is not covered
            problems.append(f"{how}: not noticed")


def read_all(splits: Splits) -> torch.Tensor:
    """Read every image of training and test set."""
    stores = (splits.train, splits.test)
    return torch.cat([store.read(torch.arange(len(store))) for store in stores])
