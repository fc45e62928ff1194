"""Store: labelled images of one size behind `read(indices)`, wherever the pixels lie."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError


@dataclass(frozen=True, eq=False)
class StoredStatistics:
    """mean, std: float64 [C]; covariance: float64 [C,C]; mean_image: float64 [H,W,C]; in levels."""

    mean: Tensor
    std: Tensor
    covariance: Tensor
    mean_image: Tensor


class Store(ABC):
    """A split of a labelled image set.

    labels: int64 [N] on the CPU. image_shape: (height, width, channels). mirror_allowed: whether a
    reflected image keeps its label. groups: int64 [N] or None; images of one group show the same
    thing and stay together when a split is made. note: shown in the description. decodes: whether
    reading costs a decoding of files. statistics: of all images, where a prepared Store recorded
    them.
    """

    name: str
    split: str
    labels: Tensor
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mirror_allowed: bool
    groups: Tensor | None = None
    note: str = ""
    decodes: bool = False
    statistics: "StoredStatistics | None" = None

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """Return uint8 [n,H,W,C] on the CPU for int64 indices [n], in their order."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of class names, labels and pixels together, in hex."""
        return self._digest()

    @abstractmethod
    def _digest(self) -> str: ...

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self) -> str:
        """Return '3,500 train images 28x28x1 of mnist5k in 10 classes'."""
        shape = "x".join(str(side) for side in self.image_shape)
        return (
            f"{len(self):,} {self.split} images {shape} of {self.name}"
            f" in {len(self.class_names)} classes" + (f" ({self.note})" if self.note else "")
        )


class ArrayStore(Store):
    """Images in memory. images: uint8 [N,H,W,C]; labels: int64 [N]. Raises DataError."""

    def __init__(
        self,
        name: str,
        split: str,
        images: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        mirror_allowed: bool,
    ) -> None:
        where = f"{name}, {split}"
        check_labels(labels, class_names, where)
        if len(images) != len(labels):
            raise DataError(f"{len(images)} images but {len(labels)} labels", where)
        self.name, self.split, self.mirror_allowed = name, split, mirror_allowed
        self.labels, self.class_names = labels, class_names
        self._images = images
        height, width, channels = images.shape[1:]
        self.image_shape = (height, width, channels)

    def read(self, indices: Tensor) -> Tensor:
        return self._images.index_select(0, indices)

    def _digest(self) -> str:
        return digest_of(self.class_names, self.labels, self._images)


class SubsetStore(Store):
    """Some images of another Store, in the order of `indices` (int64 [n])."""

    def __init__(self, parent: Store, split: str, indices: Tensor) -> None:
        self.name, self.split, self.mirror_allowed = parent.name, split, parent.mirror_allowed
        self.labels, self.class_names = parent.labels[indices], parent.class_names
        self.image_shape, self.statistics = parent.image_shape, parent.statistics
        self.note, self.decodes = parent.note, parent.decodes
        self.groups = None if parent.groups is None else parent.groups[indices]
        self._parent, self._indices = parent, indices

    def read(self, indices: Tensor) -> Tensor:
        return self._parent.read(self._indices[indices])

    def _digest(self) -> str:
        state = hashlib.sha256(self._parent.digest.encode())
        state.update(self._indices.numpy().tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Splits:
    """The three parts of a set; validation comes out of the training data, never out of test."""

    train: Store
    validation: Store | None
    test: Store


def check_labels(labels: Tensor, class_names: tuple[str, ...], where: str) -> None:
    """Raise DataError for an empty set, a label outside the classes, or a class named twice."""
    if len(labels) == 0:
        raise DataError("the set holds no images", where)
    if len(set(class_names)) != len(class_names):
        raise DataError("two classes have the same name", where)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(class_names):
        raise DataError(
            f"labels run from {low} to {high}, expected 0 to {len(class_names) - 1}", where
        )


def digest_of(class_names: tuple[str, ...], labels: Tensor, images: Tensor) -> str:
    """Return the SHA-256 of names, labels and pixels, in hex."""
    state = hashlib.sha256("\0".join(class_names).encode())
    state.update(np.array(images.shape, dtype="<i8").tobytes())
    state.update(labels.numpy().astype("<i8").tobytes())
    state.update(images.contiguous().numpy().reshape(-1).data)
    return state.hexdigest()


def all_indices(store: Store) -> Tensor:
    """Return 0..N-1."""
    return torch.arange(len(store))
