"""Damage to the files of a Store and of a preparation, before and while they are used."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint, data
from cnnlab.app.prepare import recipe_for, sources_for
from cnnlab.data import building, manifest
from cnnlab.data.prepared import open_splits
from cnnlab.data.store import Splits
from cnnlab.data.workers import Workers
from cnnlab.errors import DataError
from scripts.torture.command import Outcome, call, start
from tests.data.settings import dataset_config, prepare_config


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
ENCODINGS = ("uint8", "jpeg")
SHARD_BYTES = 3_000  # several shards
STRICT = building.Tolerance("fail", 0.0)
TRAINING = (
    *("train", "dataset=store", "dataset.image_size_pixels=24", "dataset.num_validation=8"),
    *("dataset.residency=mapped", "model=linear", "augment=none", "trainer.batch_size=8"),
    *("trainer.epochs=1", "runtime.device=cpu", "runtime.num_threads=1"),
    *("logging.tensorboard=false", "logging.report=false", "logging.progress=false"),
)
"""A training on a Store, whose shards are read anew in every epoch."""


def attack(base: Path, tries_each: int, seed: int) -> dict[str, Any]:
    """Damage each file of a Store of either encoding, and of an interrupted preparation.

    A Store before it is opened, while it is in use, before a training command and while one trains.
    Returns how many were tried, how many were found, and those that ended in any other way than
    with an error that names a file; damage in use may change pixels unnoticed (`silent_in_use`).
    """
    draw = random.Random(seed)
    found: dict[str, Any] = dict.fromkeys(("tried", "named", "silent_in_use", "made_again"), 0)
    found["problems"] = []
    for encoding in ENCODINGS:
        store, begun = base / encoding, base / f"{encoding}_begun"
        outcome = call("prepare", *SOURCE, f"output={store}", f"encoding={encoding}")
        assert outcome.code == 0, outcome.errors
        assert _trained(store, base).code == 0

        for path in sorted(store.iterdir()):
            for number in range(2 * tries_each):
                _try(_copied(store, base) / path.name, number % 2 == 1, draw, found)
            for kind in DAMAGES:
                _try_training(_copied(store, base) / path.name, kind, base, found)
        _try_while_training(_copied(store, base), base, found)

        whole = interrupt(begun, encoding)
        for path in sorted(begun.with_name(f"{begun.name}.building").iterdir()):
            for _ in range(tries_each):
                _try_preparation(begun, path.name, encoding, whole, draw, found)
    return found


def builder(
    output: Path, encoding: str, progress: Callable[[int], None] = lambda num_done: None
) -> building.Builder:
    """Return what prepares 24 training images and 8 of the test in shards of a few."""
    dataset = dataset_config(
        "synthetic", num_train=24, num_test=8, num_classes=2, image_size_pixels=16
    )
    config = prepare_config(dataset, num_threads=1, encoding=encoding, quality=95)
    recipe = replace(recipe_for(config), shard_bytes=SHARD_BYTES)
    sources = sources_for(data.load(config.dataset), config)
    return building.Builder(sources, recipe, output, Workers(1), progress)


class StoppedError(Exception):
    """Ends a preparation in the middle."""


def interrupt(output: Path, encoding: str) -> dict[str, bytes]:
    """Stop a preparation after some shards; return the files of one that was left alone."""

    def stop(num_done: int) -> None:
        if num_done > 12:
            raise StoppedError

    whole = output.with_name(f"{output.name}_whole")
    builder(whole, encoding).run(STRICT)
    try:
        builder(output, encoding, stop).run(STRICT)
    except StoppedError:
        return _files(whole)
    raise AssertionError("the preparation was not stopped")


def _try(path: Path, in_use: bool, draw: random.Random, found: dict[str, Any]) -> None:
    found["tried"] += 1
    splits = open_splits(path.parent) if in_use else None
    if splits is not None:
        read_all(splits)
    how = f"{path.name} {random_damage(path, draw)}{' in use' if in_use else ''}"
    try:
        read_all(open_splits(path.parent) if splits is None else splits)
    except Exception as error:
        _note(how, path, error, found)
    else:
        if in_use:
            found["silent_in_use"] += 1
        elif path.name != "manifest.json":  # of which only the last line break is not covered
            found["problems"].append(f"{how}: not noticed")


def _note(how: str, path: Path, error: Exception, found: dict[str, Any]) -> None:
    """Note an error: whatever else it is than one that names the file, it is a problem."""
    if isinstance(error, DataError) and path.name in error.where:
        found["named"] += 1
    else:
        found["problems"].append(f"{how}: {type(error).__name__}: {error}")


def _try_training(path: Path, kind: str, base: Path, found: dict[str, Any]) -> None:
    found["tried"] += 1
    damage(kind, path)
    outcome = _trained(path.parent, base)
    is_no_store = path.name == manifest.FILE_NAME and kind == "removed"  # so the folder is named
    wanted = str(path.parent if is_no_store else path.name)
    is_named = outcome.code == DataError.exit_code and wanted in outcome.errors
    found["named"] += is_named and outcome.is_clean
    if not (is_named and outcome.is_clean):
        said = f"{outcome.code}: {outcome.errors[-300:]}"
        found["problems"].append(f"{path.name} {kind} before training: {said}")


def _try_while_training(store: Path, base: Path, found: dict[str, Any]) -> None:
    """Cut a shard under a command that trains: it ends with 3, and what it has saved stays."""
    run = base / f"run_{found['tried']}"
    words = (*TRAINING, "trainer.epochs=100000", "saving.every_steps=1", f"dataset.root={store}")
    process = start(*words, f"hydra.run.dir={run}")
    shard = next(path for path in sorted(store.iterdir()) if path.name.startswith("train_00000"))
    last = run / "checkpoints" / "last.safetensors"
    while process.poll() is None and not last.exists():
        time.sleep(0.05)
    cut(shard, 100)
    _, errors = process.communicate(timeout=600)

    found["tried"] += 1
    is_saved = last.exists()  # else it has ended by itself
    if is_saved:
        checkpoint.verify(last)
    if is_saved and process.returncode == DataError.exit_code and shard.name in errors:
        found["named"] += 1
    else:
        said = f"{process.returncode}: {errors[-300:]}"
        found["problems"].append(f"{shard.name} cut while training: {said}")


def _try_preparation(
    begun: Path,
    name: str,
    encoding: str,
    whole: dict[str, bytes],
    draw: random.Random,
    found: dict[str, Any],
) -> None:
    """Damage a file of an interrupted preparation, and continue it: it is named, or made again."""
    output = begun.with_name("continued")
    place = output.with_name(f"{output.name}.building")
    for folder in (output, place):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(begun.with_name(f"{begun.name}.building"), place)

    found["tried"] += 1
    how = f"{name} of a preparation {random_damage(place / name, draw)}"
    try:
        builder(output, encoding).run(STRICT)
    except Exception as error:
        _note(how, place / name, error, found)
    else:
        found["made_again"] += 1
        if _files(output) != whole:
            found["problems"].append(f"{how}: another Store")


def _trained(store: Path, base: Path) -> Outcome:
    run = base / "run"
    shutil.rmtree(run, ignore_errors=True)
    return call(*TRAINING, f"dataset.root={store}", f"hydra.run.dir={run}")


def _copied(store: Path, base: Path) -> Path:
    copy = base / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(store, copy)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_all(splits: Splits) -> torch.Tensor:
    """Read every image of training and test set."""
    stores = (splits.train, splits.test)
    return torch.cat([store.read(torch.arange(len(store))) for store in stores])
