"""Run folders in which something else stands where a run has its files."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cnnlab import checkpoint
from scripts.torture import streams
from scripts.torture.command import Outcome, call

TINY = (
    "train",
    "dataset=synthetic",
    "model=linear",
    "dataset.num_train=30",
    "dataset.num_test=10",
    "dataset.num_validation=10",
    "dataset.num_classes=2",
    "dataset.image_size_pixels=8",
    "trainer.batch_size=10",
    "trainer.epochs=1",
    "runtime.num_threads=1",
    "logging.report=false",
    "logging.images_every_epochs=null",
)
"""A training of two updates."""

HUGE_BYTES = 5 << 30
MOST_SECONDS = 60
NAMES = (
    "run.json",
    "config.yaml",
    "metrics.jsonl",
    "metrics.csv",
    "train.log",
    "lock",
    "error.json",
    "report.html",
    "checkpoints",
    "tensorboard",
    "profile",
    "members",
    "pictures",
    "checkpoints/last.safetensors",
    "checkpoints/best.safetensors",
    "checkpoints/step_00000002.safetensors",
    "checkpoints/step_00000001.safetensors",
    "pictures/playground.html",
    "probabilities.npy",
)
EXPORTED = "new.safetensors"
ALLOWED = (0, 3, 4, 6)
"""6: a folder stands where a file is to be written."""


def put(kind: str, path: Path, outside: Path) -> None:
    """Put something else in the place of a file or folder; `outside` is a folder with a `file`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    KINDS[kind](path, outside)


def _huge(path: Path, outside: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(HUGE_BYTES)  # takes no room on the disk


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "pipe": lambda path, outside: os.mkfifo(path),
    "link": lambda path, outside: path.symlink_to(outside / "file"),
    "link_to_folder": lambda path, outside: path.symlink_to(outside),
    "dangling_link": lambda path, outside: path.symlink_to(outside / "new"),
    "endless": lambda path, outside: path.symlink_to("/dev/zero"),
    "folder": lambda path, outside: path.mkdir(),
    "huge": _huge,
}


def commands(run: Path, other: Path, base: Path) -> list[tuple[str, ...]]:
    """Return the commands that read or write a run folder."""
    return [
        ("list", "runs"),
        ("compare", f"runs=[{run},{other}]", f"output={base}/compared.html"),
        ("predict", f"checkpoint={run}", f"images={base}/picture.png"),
        ("convert", f"source={run}", f"output={base}/{EXPORTED}"),
        ("visualize", f"checkpoint={run}", "what=[filters,playground]", "formats=[png]"),
        ("evaluate", f"checkpoint=[{run},{other}]", f"output={run}", "save_probabilities=true"),
        ("train", f"resume={run}", "trainer.epochs=2"),
    ]


def attack(base: Path, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Try every kind of thing in the place of every file, with every command.

    Returns how many were tried, which left a message of more than three lines, a traceback or
    another exit code than those allowed, and after which a file outside the run folder had changed.
    """
    made, outside, run = base / "made", base / "outside", base / "outputs" / "run"
    assert call(*TINY, "saving.every_steps=1", f"hydra.run.dir={made}").code == 0
    outside.mkdir()
    (outside / "file").write_text("precious\n")
    streams.picture(base)
    shutil.copytree(made, run)
    for words in commands(run, made, base):  # what refuses an intact run shows nothing
        intact = within_seconds(words)
        assert intact.code == 0, f"{words[0]}: {intact.errors}"

    found = {"tried": 0, "unclean": [], "changed": []}
    for name in names:
        for kind in KINDS:
            shutil.rmtree(run)
            shutil.copytree(made, run)
            put(kind, run / name, outside)
            (base / EXPORTED).unlink(missing_ok=True)  # convert replaces nothing
            if not _is_safe(f"{name} as {kind}", commands(run, made, base), outside, found):
                return found
    return found


def _is_safe(
    label: str, lines: Sequence[tuple[str, ...]], outside: Path, found: dict[str, Any]
) -> bool:
    """Run the commands and note what was wrong; return whether all outside is as it was."""
    before = content_of(outside)
    for words in lines:
        outcome = within_seconds(words)
        found["tried"] += 1
        if not outcome.is_clean or outcome.code not in ALLOWED:
            said = f"{outcome.code}: {outcome.errors[-300:]}"
            found["unclean"].append(f"{label}: {words[0]}: {said}")
        if content_of(outside) != before:
            found["changed"].append(f"{label}: {words[0]}")
            return False
    return True


HUGE = (10**9, -(10**9), [10**9])


def forged_sizes(base: Path) -> dict[str, Any]:
    """Put absurd numbers in the place of each number of a checkpoint's document; try commands.

    Returns how many were tried, and which ended with a traceback, a bug, or not at all.
    """
    run, forged = base / "sized", base / "forged.safetensors"
    assert call(*TINY, f"hydra.run.dir={run}").code == 0
    held = checkpoint.read(run / "checkpoints" / "last.safetensors")
    document = {k: v for k, v in held.document.items() if k != "format_version"}

    checkpoint.write(forged, held.tensors, document)
    for words in _uses(forged, run):
        assert call(*words).code == 0, words

    tried, unclean = 0, []
    for keys in _numbers(document):
        for value in HUGE:
            checkpoint.write(forged, held.tensors, _with(document, keys, value))
            for words in _uses(forged, run):
                outcome = within_seconds(words)
                tried += 1
                if not outcome.is_clean:
                    unclean.append(f"{'.'.join(keys)}={value}: {words[0]}: {outcome.errors[-200:]}")
    return {"tried": tried, "unclean": unclean}


def _uses(forged: Path, run: Path) -> list[tuple[str, ...]]:
    return [
        ("evaluate", f"checkpoint={forged}"),
        ("visualize", f"checkpoint={forged}", "what=filters", "formats=[png]"),
        ("train", f"resume={_beside(forged, run)}"),
    ]


def _beside(forged: Path, run: Path) -> Path:
    """Return a copy of the run with the forged checkpoint as its only one."""
    copy = forged.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("*.safetensors", "run.json"))
    shutil.copy(forged, copy / "checkpoints" / "last.safetensors")
    return copy


def _numbers(plain: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _numbers(value, (*above, key))
        elif isinstance(value, int | float | list) and not isinstance(value, bool):
            yield (*above, key)


def _with(plain: dict[str, Any], keys: tuple[str, ...], value: object) -> dict[str, Any]:
    first, *rest = keys
    return plain | {first: _with(plain[first], tuple(rest), value) if rest else value}


def within_seconds(words: tuple[str, ...]) -> Outcome:
    """Run a command in this process; one that waits for ever counts as unclean."""
    with _alarm():
        return call(*words)


@contextmanager
def _alarm() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
