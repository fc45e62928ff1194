"""The manifest of a prepared Store: its content, how it was made, and a digest of every file."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnnlab.data.blocks import damaged_in_sample, num_blocks
from cnnlab.errors import DataError
from cnnlab.files.atomic import write_bytes
from cnnlab.safe_output import escape_control

FILE_NAME = "manifest.json"
FORMAT_VERSION = 2
"""Stores of version 1 have no checksums of blocks; they are read too."""

_READABLE = (1, 2)
_MOST_BYTES = 1 << 28
_REBUILD = "prepare it again, into another folder or after removing this one"


@dataclass(frozen=True)
class FileEntry:
    """One file of the Store. num_images is 0 for files without images.

    blocks: the CRC-32 of each MiB, eight digits each; empty in Stores of version 1.
    """

    name: str
    num_bytes: int
    sha256: str
    num_images: int = 0
    blocks: str = ""


@dataclass(frozen=True)
class SplitEntry:
    """A split: its shards in order, the skipped source files with the reason, and its note."""

    num_images: int
    shards: list[FileEntry]
    skipped: list[dict[str, str]] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Manifest:
    """The description of a prepared Store.

    recipe: encoding, side, kernel, quality, decoding policy and library versions. source: the
    digest of each split that was prepared. statistics: of the training split, in pixel levels.
    """

    name: str
    class_names: list[str]
    mirror_allowed: bool
    image_shape: list[int]
    recipe: dict[str, Any]
    source: dict[str, str]
    splits: dict[str, SplitEntry]
    files: list[FileEntry]
    statistics: dict[str, Any]

    def all_shards(self) -> Iterator[FileEntry]:
        """Yield the shards of every split."""
        for split in self.splits.values():
            yield from split.shards

    def all_files(self) -> Iterator[FileEntry]:
        """Yield every file but the manifest itself."""
        yield from self.files
        yield from self.all_shards()


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with its own SHA-256 in it."""
    document = {"format_version": FORMAT_VERSION, **asdict(manifest)}
    text = json.dumps(
        {**document, "sha256": _checksum(document)}, indent=1, sort_keys=True, allow_nan=False
    )
    write_bytes(folder / FILE_NAME, text.encode("ascii") + b"\n")


def damaged_manifest(folder: Path, error: Exception) -> DataError:
    """Return the error for a manifest whose content is not what it should be."""
    return _damaged(folder / FILE_NAME, f"the manifest is damaged: {error}")


def is_store(folder: Path) -> bool:
    """Return whether the folder has the manifest of a prepared Store."""
    return (folder / FILE_NAME).is_file()


def read(folder: Path) -> Manifest:
    """Return the manifest; its SHA-256 and the size of every file are checked. Raises DataError."""
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("larger than 256 MiB")

        document = json.loads(path.read_bytes())
        version = document.pop("format_version", None)
        if version not in _READABLE:
            raise ValueError(f"format version {version!r}, not {FORMAT_VERSION} or earlier")
        if document.pop("sha256", None) != _checksum({"format_version": version, **document}):
            raise ValueError("changed since it was written")
        manifest = _from_plain(document)

    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged_manifest(folder, error) from error
    check_lengths(folder, manifest.all_files())
    return manifest


def check_lengths(folder: Path, entries: Iterable[FileEntry]) -> None:
    """Raise DataError for a file of the Store that is missing or has another size."""
    for entry in entries:
        path = folder / entry.name
        try:
            found = path.stat().st_size
        except OSError as error:
            raise _damaged(path, "a file of the Store is missing") from error
        if found != entry.num_bytes:
            raise _damaged(path, f"{found:,} bytes, the manifest says {entry.num_bytes:,}")


def read_file(folder: Path, entry: FileEntry) -> bytes:
    """Return a small file of the Store and check its SHA-256. Raises DataError."""
    try:
        content = (folder / entry.name).read_bytes()
    except OSError as error:
        raise _damaged(folder / entry.name, "a file of the Store cannot be read") from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise _damaged(folder / entry.name, "changed since the Store was made")
    return content


def check_sample(folder: Path, shards: Iterable[FileEntry]) -> None:
    """Check some blocks of the shards, all of a small Store. Raises DataError."""
    if wrong := damaged_in_sample([(folder / shard.name, shard.blocks) for shard in shards]):
        raise _damaged(wrong[0], f"{len(wrong)} damaged files, changed since the Store was made")


def verify(
    folder: Path, manifest: Manifest, progress: Callable[[int], None] = lambda num_bytes: None
) -> int:
    """Check the SHA-256 of every file; return how many bytes were read.

    Raises DataError that names all damaged files.
    """
    wrong, num_bytes = [], 0
    for entry in manifest.all_files():
        path = folder / entry.name
        if not path.exists() or sha256_of(path) != entry.sha256:
            wrong.append(entry.name)
        num_bytes += entry.num_bytes
        progress(num_bytes)
    if wrong:
        raise _damaged(folder, f"{len(wrong)} damaged files: {', '.join(wrong)}")
    return num_bytes


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _from_plain(document: dict[str, Any]) -> Manifest:
    splits = {
        name: SplitEntry(
            split["num_images"],
            [entry_of(entry) for entry in split["shards"]],
            split["skipped"],
            split["note"],
        )
        for name, split in document.pop("splits").items()
    }
    files = [entry_of(entry) for entry in document.pop("files")]
    return Manifest(splits=splits, files=files, **document)


def entry_of(plain: dict[str, Any]) -> FileEntry:
    """Return the entry of one file from plain data; raises ValueError or TypeError.

    Names and checksums are used to open files: nothing outside of the Store, nothing cut off.
    """
    entry = FileEntry(**plain)
    if any(type(getattr(entry, name)) is not kind for name, kind in _KINDS.items()):
        raise TypeError("a file is described by something else")
    if Path(entry.name).name != entry.name:
        raise ValueError("a file outside the folder")
    if entry.num_bytes < 0 or entry.num_images < 0:
        raise ValueError("a file of a negative size")
    if entry.blocks and len(entry.blocks) != 8 * num_blocks(entry.num_bytes):
        raise ValueError(f"the number of checksums of {entry.name} is not that of its blocks")
    return entry


_KINDS = {"name": str, "num_bytes": int, "sha256": str, "num_images": int, "blocks": str}


def _damaged(path: Path, what: str) -> DataError:
    return DataError(what, escape_control(str(path.absolute())), _REBUILD)
