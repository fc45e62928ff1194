"""Prepared Stores: memory-mapped uint8 shards, or shards of JPEGs with an index."""

import bisect
import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.data import manifest as manifests
from cnnlab.data.jpeg import decode_jpeg
from cnnlab.data.manifest import FileEntry, Manifest
from cnnlab.data.store import Splits, Store, StoredStatistics, check_labels
from cnnlab.data.workers import Workers
from cnnlab.errors import DataError
from cnnlab.kept_memory import KeptMemory

MEAN_IMAGE = "mean_image.npy"


def open_splits(folder: Path, num_threads: int = 1) -> Splits:
    """Return the splits of a prepared Store, lengths checked. Raises DataError."""
    manifest = manifests.read(folder)
    stores = {name: PreparedStore(folder, manifest, name, num_threads) for name in manifest.splits}
    if not {"train", "test"} <= stores.keys():
        raise DataError(f"splits {', '.join(stores)}, expected train and test", str(folder))
    return Splits(stores["train"], stores.get("validation"), stores["test"])


class PreparedStore(Store):
    """One split of a prepared Store; nothing of it is in memory until it is read."""

    def __init__(self, folder: Path, manifest: Manifest, split: str, num_threads: int = 1) -> None:
        self.name, self.split, self.mirror_allowed = manifest.name, split, manifest.mirror_allowed
        self.class_names = tuple(manifest.class_names)
        height, width, channels = manifest.image_shape
        self.image_shape = (height, width, channels)
        self.encoding = manifest.recipe["encoding"]
        self._folder, self._entry = folder, manifest.splits[split]
        self.note, self.decodes = self._entry.note, self.encoding == "jpeg"
        self.labels = torch.from_numpy(np.load(folder / f"{split}_labels.npy", allow_pickle=False))
        check_labels(self.labels, self.class_names, str(folder))
        self.groups = self._load_groups()
        self._starts = self._first_images()
        self._workers, self._memory = Workers(num_threads), KeptMemory()
        if split == "train":
            self.statistics = _read_statistics(folder, manifest)

    def read(self, indices: Tensor) -> Tensor:
        if self.encoding == "uint8":
            return self._read_uint8(indices)
        images = self._memory.empty((len(indices), *self.image_shape), torch.uint8)
        where = indices.tolist()

        def decode_part(places: range) -> list[Any]:
            for place in places:
                images[place] = self._read_jpeg(where[place])
            return []

        self._workers.run(decode_part, len(where))
        return images

    def _read_uint8(self, indices: Tensor) -> Tensor:
        """Copy image by image: each is one run of the mapped file."""
        images = self._memory.empty((len(indices), *self.image_shape), torch.uint8)
        out = images.numpy()
        for place, index in enumerate(indices.tolist()):
            shard = bisect.bisect_right(self._starts, index) - 1
            out[place] = self._arrays[shard][index - self._starts[shard]]
        return images

    def _read_jpeg(self, index: int) -> Tensor:
        shard = bisect.bisect_right(self._starts, index) - 1
        content, ends = self._jpegs[shard]
        within = index - self._starts[shard]
        encoded = content[ends[within] : ends[within + 1]]
        return decode_jpeg(encoded.data).permute(1, 2, 0)

    @cached_property
    def _arrays(self) -> list[np.ndarray]:
        """The shards, mapped read-only."""
        return [self._map(shard) for shard in self._entry.shards]

    def _map(self, shard: FileEntry) -> np.ndarray:
        array = np.load(self._folder / shard.name, mmap_mode="r", allow_pickle=False)
        if array.dtype != np.uint8 or array.shape != (shard.num_images, *self.image_shape):
            raise DataError("a shard has another shape than announced", str(shard.name))
        return array

    @cached_property
    def _jpegs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The shards' bytes, mapped, and where each JPEG starts and ends in them."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for shard in self._entry.shards:
            content = np.memmap(self._folder / shard.name, dtype=np.uint8, mode="r")
            ends = content[-8 * (shard.num_images + 1) :].view("<i8")
            if not (ends[0] == 0 and (np.diff(ends) > 0).all() and ends[-1] <= len(content)):
                raise DataError("a shard's index is damaged", str(self._folder / shard.name))
            found.append((content, ends))
        return found

    def _first_images(self) -> list[int]:
        counts = [shard.num_images for shard in self._entry.shards]
        if sum(counts) != len(self.labels):
            raise DataError(f"{sum(counts)} images, {len(self.labels)} labels", str(self._folder))
        return [sum(counts[:item]) for item in range(len(counts))]

    def _load_groups(self) -> Tensor | None:
        path = self._folder / f"{self.split}_groups.npy"
        return torch.from_numpy(np.load(path, allow_pickle=False)) if path.is_file() else None

    def _digest(self) -> str:
        """From the shards' digests: nothing is read."""
        state = hashlib.sha256("\0".join(self.class_names).encode())
        for shard in self._entry.shards:
            state.update(shard.sha256.encode())
        state.update(self.labels.numpy().tobytes())
        return state.hexdigest()

    def describe(self) -> str:
        return f"{super().describe()} (prepared, {self.encoding})"


def _read_statistics(folder: Path, manifest: Manifest) -> StoredStatistics:
    stored = manifest.statistics
    return StoredStatistics(
        mean=torch.tensor(stored["mean"], dtype=torch.float64),
        std=torch.tensor(stored["std"], dtype=torch.float64),
        covariance=torch.tensor(stored["covariance"], dtype=torch.float64),
        mean_image=torch.from_numpy(np.load(folder / MEAN_IMAGE, allow_pickle=False)),
    )
