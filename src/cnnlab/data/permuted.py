"""PermutedStore: the pixels of every image in one fixed shuffled order; neighbourhood is lost."""

import hashlib

import torch
from torch import Tensor

from cnnlab.data.listing import one_note
from cnnlab.data.store import Splits, Store
from cnnlab.runtime import make_generator


class PermutedStore(Store):
    """Another Store whose images all had their pixels moved by the same permutation.

    A fully connected network learns as well as before; a convolutional one loses what it is
    built for. Colour planes move together.
    """

    def __init__(self, parent: Store, seed: int) -> None:
        self.name, self.split, self.mirror_allowed = parent.name, parent.split, False
        self.labels, self.class_names = parent.labels, parent.class_names
        self.image_shape, self.groups = parent.image_shape, parent.groups
        self.note = one_note(parent.note, "pixels permuted")
        height, width, _ = parent.image_shape
        generator = make_generator(seed, "permutation")
        self._order = torch.randperm(height * width, generator=generator)
        self._parent = parent

    def read(self, indices: Tensor) -> Tensor:
        images = self._parent.read(indices)
        return images.flatten(1, 2).index_select(1, self._order).view_as(images)

    def _digest(self) -> str:
        state = hashlib.sha256(self._parent.digest.encode())
        state.update(self._order.numpy().tobytes())
        return state.hexdigest()


def permute(splits: Splits, seed: int) -> Splits:
    """Return the splits with the same permutation in each."""
    validation = PermutedStore(splits.validation, seed) if splits.validation else None
    return Splits(PermutedStore(splits.train, seed), validation, PermutedStore(splits.test, seed))
