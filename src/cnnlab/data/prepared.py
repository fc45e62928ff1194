"""Prepared Stores: memory-mapped uint8 shards, or shards of JPEGs with an index."""

import bisect
import hashlib
import io
import mmap
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.data import manifest as manifests
from cnnlab.data.jpeg import decode_jpeg
from cnnlab.data.manifest import FileEntry, Manifest, SplitEntry
from cnnlab.data.store import Splits, Store, StoredStatistics, check_labels
from cnnlab.data.workers import Workers
from cnnlab.errors import DataError
from cnnlab.files.arrays import NOT_AN_ARRAY
from cnnlab.safe_output import escape_control

MEAN_IMAGE = "mean_image.npy"

_MOST_HEADER_BYTES = 1 << 12


def open_splits(folder: Path, num_threads: int = 1) -> Splits:
    """Return the splits of a prepared Store. Raises DataError.

    Checked are the size of every file, labels and statistics in full, and a sample of the shards.
    """
    manifest = manifests.read(folder)
    manifests.check_sample(folder, manifest.all_shards())
    stores = {name: PreparedStore(folder, manifest, name, num_threads) for name in manifest.splits}
    if not {"train", "test"} <= stores.keys():
        raise DataError(f"splits {', '.join(stores)}, expected train and test", str(folder))
    return Splits(stores["train"], stores.get("validation"), stores["test"])


class PreparedStore(Store):
    """One split of a prepared Store; its pixels stay on disk until they are read."""

    def __init__(self, folder: Path, manifest: Manifest, split: str, num_threads: int = 1) -> None:
        self._folder = folder
        try:
            self._describe(manifest, split)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise manifests.damaged_manifest(folder, error) from error
        self._workers, self._memory = Workers(num_threads), BufferPool()

    def _describe(self, manifest: Manifest, split: str) -> None:
        folder = self._folder
        self.name, self.split, self.mirror_allowed = manifest.name, split, manifest.mirror_allowed
        self.class_names = tuple(manifest.class_names)
        height, width, channels = manifest.image_shape
        self.image_shape = (height, width, channels)
        self.encoding = manifest.recipe["encoding"]
        self._entry = manifest.splits[split]
        self.note = _note(self._entry)
        self.decodes = self.holds_jpegs = self.encoding == "jpeg"

        self.labels = _load(folder, manifest, f"{split}_labels.npy")
        check_labels(self.labels, self.class_names, str(folder))
        has_groups = any(entry.name == f"{split}_groups.npy" for entry in manifest.files)
        self.groups = _load(folder, manifest, f"{split}_groups.npy") if has_groups else None
        self._starts = self._first_images()

        if split == "train":
            mean_image = _load(folder, manifest, MEAN_IMAGE)
            self.statistics = _read_statistics(manifest.statistics, mean_image)

    def read(self, indices: Tensor) -> Tensor:
        images = self._memory.empty((len(indices), *self.image_shape), torch.uint8)
        self.read_into(indices, images)
        return images

    def read_into(self, indices: Tensor, out: Tensor) -> None:
        where = indices.tolist()
        if self.encoding == "uint8":
            self._read_uint8(where, out.numpy())
            return

        def decode_part(places: range) -> list[Any]:
            for place in places:
                out[place] = self._read_jpeg(where[place])
            return []

        self._workers.run(decode_part, len(where))

    def encoded(self, indices: Tensor) -> list[Tensor]:
        # copied out of the mapped file, of which torch would make writable memory
        return [torch.from_numpy(self._encoded(index)[0].copy()) for index in indices.tolist()]

    def _read_uint8(self, indices: list[int], out: np.ndarray) -> None:
        """Copy image by image: each is a contiguous piece of the mapped file."""
        for place, index in enumerate(indices):
            shard = bisect.bisect_right(self._starts, index) - 1
            pixels, mapped = self._arrays[shard]
            self._check_still_whole(shard, mapped)
            out[place] = pixels[index - self._starts[shard]]

    def _encoded(self, index: int) -> tuple[np.ndarray, str, int]:
        """Return the bytes of a JPEG, the name of its shard, and its number there."""
        shard = bisect.bisect_right(self._starts, index) - 1
        content, ends, mapped = self._jpegs[shard]
        self._check_still_whole(shard, mapped)
        within = index - self._starts[shard]
        name = self._entry.shards[shard].name
        return content[ends[within] : ends[within + 1]], name, within

    def _read_jpeg(self, index: int) -> Tensor:
        content, name, within = self._encoded(index)
        try:
            return decode_jpeg(content.data, self.image_shape[2]).permute(1, 2, 0)
        except ValueError as error:
            raise self._damaged(name, f"image {within}: {error}") from error

    @cached_property
    def _arrays(self) -> list[tuple[np.ndarray, mmap.mmap]]:
        """The pixels of the shards, mapped read-only."""
        return [self._pixels(shard) for shard in self._entry.shards]

    def _pixels(self, shard: FileEntry) -> tuple[np.ndarray, mmap.mmap]:
        mapped = self._map(shard)
        shape = (shard.num_images, *self.image_shape)
        try:
            header = io.BytesIO(mapped[:_MOST_HEADER_BYTES])
            np.lib.format.read_magic(header)
            found = np.lib.format.read_array_header_1_0(header)
            array = np.frombuffer(mapped, np.uint8, offset=header.tell())
        except NOT_AN_ARRAY as error:
            raise self._damaged(shard.name, f"not an array ({error})") from error
        if found != (shape, False, np.dtype(np.uint8)) or array.size != np.prod(shape):
            raise self._damaged(shard.name, "another shape than the manifest has")
        return array.reshape(shape), mapped

    @cached_property
    def _jpegs(self) -> list[tuple[np.ndarray, np.ndarray, mmap.mmap]]:
        """The shards' bytes, mapped, and where each JPEG starts and ends in them."""
        found = []
        for shard in self._entry.shards:
            mapped = self._map(shard)
            content = np.frombuffer(mapped, np.uint8)
            index_bytes = 8 * (shard.num_images + 1)
            if len(content) % 8 or len(content) < index_bytes:
                raise self._damaged(shard.name, "too short for its index")

            # copied: what was checked stays what is used
            ends = content[-index_bytes:].view("<i8").copy()
            room = len(content) - index_bytes
            inside = ends[0] == 0 and ends.min() >= 0 and ends.max() <= room
            if not (inside and (np.diff(ends) > 0).all()):
                raise self._damaged(shard.name, "its index is damaged")
            found.append((content, ends, mapped))
        return found

    def _map(self, shard: FileEntry) -> mmap.mmap:
        """Map a shard whose size is that of the manifest."""
        try:
            with open(self._folder / shard.name, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise self._damaged(shard.name, "it is missing") from error
        except ValueError as error:  # an empty file
            raise self._damaged(shard.name, str(error)) from error
        if len(mapped) != shard.num_bytes:
            what = f"{len(mapped):,} bytes, expected {shard.num_bytes:,}"
            raise self._damaged(shard.name, what)
        return mapped

    def _check_still_whole(self, number: int, mapped: mmap.mmap) -> None:
        """Look again before reading: past the end of a mapped file the system kills the process."""
        if mapped.size() < len(mapped):
            what = f"cut to {mapped.size():,} bytes while in use"
            raise self._damaged(self._entry.shards[number].name, what)

    def _damaged(self, name: str, what: str) -> DataError:
        where = escape_control(str((self._folder / name).absolute()))
        return DataError(
            f"a shard is damaged: {what}", where, "cnnlab prepare verify=true names every such file"
        )

    def _first_images(self) -> list[int]:
        counts = [shard.num_images for shard in self._entry.shards]
        if sum(counts) != len(self.labels):
            raise DataError(f"{sum(counts)} images, {len(self.labels)} labels", str(self._folder))
        return [sum(counts[:item]) for item in range(len(counts))]

    def _digest(self) -> str:
        """Combine the shards' digests; reads no pixels."""
        state = hashlib.sha256("\0".join(self.class_names).encode())
        for shard in self._entry.shards:
            state.update(shard.sha256.encode())
        state.update(self.labels.numpy().tobytes())
        return state.hexdigest()

    def describe(self) -> str:
        return f"{super().describe()} (prepared, {self.encoding})"


def _note(entry: SplitEntry) -> str:
    unchecked = any(shard.blocks == "" for shard in entry.shards)
    remark = (
        "made by an earlier cnnlab: only prepare verify=true checks its pixels" if unchecked else ""
    )
    return "; ".join(note for note in (entry.note, remark) if note)


def _load(folder: Path, manifest: Manifest, name: str) -> Tensor:
    """Return a small array after checking its digest."""
    entry = next((entry for entry in manifest.files if entry.name == name), None)
    if entry is None:
        raise DataError(
            f"the manifest does not list {name}", escape_control(str(folder.absolute()))
        )
    content = manifests.read_file(folder, entry)
    try:
        return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
    except NOT_AN_ARRAY as error:
        where = escape_control(str((folder / name).absolute()))
        raise DataError(f"not an array ({error})", where, "prepare the Store again") from error


def _read_statistics(stored: dict[str, Any], mean_image: Tensor) -> StoredStatistics:
    return StoredStatistics(
        mean=torch.tensor(stored["mean"], dtype=torch.float64),
        std=torch.tensor(stored["std"], dtype=torch.float64),
        covariance=torch.tensor(stored["covariance"], dtype=torch.float64),
        mean_image=mean_image,
    )
