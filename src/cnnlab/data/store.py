"""Store: labelled images of one size behind `read(indices)`, wherever the pixels lie."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError


class Store(Protocol):
    """A split of a labelled image set.

    labels: int64 [N] on the CPU. image_shape: (height, width, channels). digest: hex, of pixels,
    labels and class names together. mirror_allowed: whether a reflected image keeps its label.
    """

    name: str
    split: str
    labels: Tensor
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mirror_allowed: bool

    @property
    def digest(self) -> str: ...

    def read(self, indices: Tensor) -> Tensor:
        """Return uint8 [n,H,W,C] on the CPU for int64 indices [n], in their order."""
        ...

    def __len__(self) -> int: ...

    def describe(self) -> str:
        """Say in one line what this is."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Images in memory. images: uint8 [N,H,W,C]; labels: int64 [N]."""

    name: str
    split: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mirror_allowed: bool

    def __post_init__(self) -> None:
        check_labels(self.labels, self.class_names, f"{self.name}, {self.split}")
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images)} images but {len(self.labels)} labels",
                f"{self.name}, {self.split}",
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @cached_property
    def digest(self) -> str:
        return digest_of(self.class_names, self.labels, self.images)

    def read(self, indices: Tensor) -> Tensor:
        return self.images.index_select(0, indices)

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self) -> str:
        return describe(self)


@dataclass(frozen=True, eq=False)
class SubsetStore:
    """Some images of another Store, in the order of `indices` (int64 [n])."""

    parent: Store
    split: str
    indices: Tensor

    @property
    def name(self) -> str:
        return self.parent.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.parent.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.parent.image_shape

    @property
    def mirror_allowed(self) -> bool:
        return self.parent.mirror_allowed

    @cached_property
    def labels(self) -> Tensor:
        return self.parent.labels[self.indices]

    @cached_property
    def digest(self) -> str:
        state = hashlib.sha256(self.parent.digest.encode())
        state.update(self.indices.numpy().tobytes())
        return state.hexdigest()

    def read(self, indices: Tensor) -> Tensor:
        return self.parent.read(self.indices[indices])

    def __len__(self) -> int:
        return len(self.indices)

    def describe(self) -> str:
        return describe(self)


@dataclass(frozen=True)
class Splits:
    """The three parts of a set. Validation is part of the training data; test is never chosen by."""

    train: Store
    validation: Store | None
    test: Store


def describe(store: Store) -> str:
    """Return '3,500 train images 28x28x1 of mnist5k in 10 classes'."""
    shape = "x".join(str(side) for side in store.image_shape)
    return (
        f"{len(store):,} {store.split} images {shape} of {store.name}"
        f" in {len(store.class_names)} classes"
    )


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
    state.update(memoryview(images.contiguous().numpy()).cast("B"))
    return state.hexdigest()


def all_indices(store: Store) -> Tensor:
    """Return 0..N-1."""
    return torch.arange(len(store))
