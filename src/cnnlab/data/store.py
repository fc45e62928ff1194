"""Store: labeled images of one size, read by index, whatever holds the pixels."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.decode import BadImage
from cnnlab.errors import DataError

Bad = tuple[int, BadImage]
"""Position among the requested images, and why that one could not be read."""


@dataclass(frozen=True, eq=False)
class StoredStatistics:
    """mean, std: float64 [C]; covariance: [C,C]; mean_image: [H,W,C]; in levels of 0 to 255."""

    mean: Tensor
    std: Tensor
    covariance: Tensor
    mean_image: Tensor


@dataclass(frozen=True)
class Reading:
    """How image files are decoded. side_pixels: shorter side to resize to; None: as stored."""

    side_pixels: int | None
    kernel: str
    max_pixels: int
    num_threads: int


class Store(ABC):
    """A split of a labeled image set.

    labels: int64 [N] on the CPU. image_shape: (height, width, channels). mirror_allowed: whether a
    reflected image keeps its label. groups: int64 [N] or None; images of one group show the same
    object and are never divided between two splits. note: shown in the description. decodes:
    whether `read` decodes files. holds_jpegs: whether `encoded` has all that `read` shows.
    statistics: of all images, where a prepared Store recorded them.
    left_out: name and reason of each bad file that was skipped.
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
    holds_jpegs: bool = False
    statistics: StoredStatistics | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """Return uint8 [n,H,W,C] on the CPU for int64 indices [n], in their order."""

    def read_into(self, indices: Tensor, out: Tensor) -> None:
        """Write what `read` returns into uint8 [n,H,W,C], of which each image is contiguous.

        Several threads may do so at the same time, unless `decodes` is true without `holds_jpegs`.
        """
        out.copy_(self.read(indices))

    def encoded(self, indices: Tensor) -> list[Tensor]:
        """Return the images as JPEGs, uint8 [bytes] each, of a Store that `holds_jpegs`."""
        raise NotImplementedError(f"{self.name} holds no JPEGs")

    def read_good(self, indices: Tensor, out: Tensor | None = None) -> tuple[Tensor, list[Bad]]:
        """Return what `read` returns, and which images are bad; their pixels are undefined.

        out: written and returned. Only image files can be bad; other failures raise DataError.
        """
        images = self.read(indices)
        return images if out is None else out.copy_(images), []

    def read_as(self, reading: Reading) -> "Store":
        """Return the same images decoded as `reading` says; this Store where nothing is decoded."""
        return self

    def name_of(self, index: int) -> str:
        """Return an image's name: its file relative to the split's folder, where it has one."""
        return f"image {index}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of class names, labels and pixels (or file contents), in hex."""
        return self._digest()

    @cached_property
    def earlier_digest(self) -> str:
        """The digest as earlier versions computed it, from less of the data."""
        return self._earlier_digest()

    def has_digest(self, recorded: object) -> bool:
        """Return whether a digest recorded by this version or an earlier one is of these images."""
        return recorded == self.digest or recorded == self.earlier_digest

    @abstractmethod
    def _digest(self) -> str: ...

    def _earlier_digest(self) -> str:
        return self.digest

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


class DerivedStore(Store):
    """A view of another Store, with everything that the parent offers.

    Subclasses define which of the parent's images they show (`_parent_indices`) and what they do to
    the pixels (`_transform`); all else is delegated, so no caller asks for the type of a Store.
    """

    def __init__(self, parent: Store) -> None:
        self.name, self.split = parent.name, parent.split
        self.mirror_allowed = parent.mirror_allowed
        self.labels, self.class_names = parent.labels, parent.class_names
        self.image_shape, self.statistics = parent.image_shape, parent.statistics
        self.note, self.decodes, self.groups = parent.note, parent.decodes, parent.groups
        self.left_out = parent.left_out
        self._parent = parent

    @abstractmethod
    def _with_parent(self, parent: Store) -> "DerivedStore":
        """Return the same view of another parent."""

    @abstractmethod
    def _derived_digest(self, digest: str) -> str:
        """Return the digest of this view, given the parent's."""

    def _parent_indices(self, indices: Tensor) -> Tensor:
        """Return the parent's indices for indices of this Store."""
        return indices

    def _transform(self, images: Tensor) -> Tensor:
        """Return the pixels of this view for the parent's, uint8 [n,H,W,C]."""
        return images

    def read(self, indices: Tensor) -> Tensor:
        return self._transform(self._parent.read(self._parent_indices(indices)))

    def read_good(self, indices: Tensor, out: Tensor | None = None) -> tuple[Tensor, list[Bad]]:
        images, bad = self._parent.read_good(self._parent_indices(indices), out)
        changed = self._transform(images)
        return changed if out is None or changed is out else out.copy_(changed), bad

    def read_as(self, reading: Reading) -> Store:
        return self._with_parent(self._parent.read_as(reading))

    def name_of(self, index: int) -> str:
        return self._parent.name_of(int(self._parent_indices(torch.tensor([index]))))

    def _digest(self) -> str:
        return self._derived_digest(self._parent.digest)

    def _earlier_digest(self) -> str:
        return self._derived_digest(self._parent.earlier_digest)


class SubsetStore(DerivedStore):
    """Some images of another Store, in the order of `indices` (int64 [n]).

    note, left_out: None keeps the parent's.
    """

    def __init__(
        self,
        parent: Store,
        split: str,
        indices: Tensor,
        note: str | None = None,
        left_out: tuple[tuple[str, str], ...] | None = None,
    ) -> None:
        super().__init__(parent)
        self.split, self.labels = split, parent.labels[indices]
        self.groups = None if parent.groups is None else parent.groups[indices]
        self.note = parent.note if note is None else note
        self.left_out = parent.left_out if left_out is None else left_out
        self.holds_jpegs = parent.holds_jpegs
        self._indices = indices

    def read_into(self, indices: Tensor, out: Tensor) -> None:
        self._parent.read_into(self._parent_indices(indices), out)

    def encoded(self, indices: Tensor) -> list[Tensor]:
        return self._parent.encoded(self._parent_indices(indices))

    def _with_parent(self, parent: Store) -> "SubsetStore":
        return SubsetStore(parent, self.split, self._indices, self.note, self.left_out)

    def _parent_indices(self, indices: Tensor) -> Tensor:
        return self._indices[indices]

    def _derived_digest(self, digest: str) -> str:
        state = hashlib.sha256(digest.encode())
        state.update(self._indices.numpy().tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Splits:
    """The three splits of a set; validation is held out of the training data, never of test."""

    train: Store
    validation: Store | None
    test: Store

    def stores(self) -> dict[str, Store]:
        """Return the splits that the set has, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: store for name, store in splits.items() if store is not None}


def check_labels(labels: Tensor, class_names: tuple[str, ...], where: str) -> None:
    """Raise DataError for an empty set, a label out of range, or two classes with one name."""
    if len(labels) == 0:
        raise DataError("the set has no images", where)
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
