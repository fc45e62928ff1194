"""PermutedStore: the pixels of every image in one fixed random order; locality is lost."""

import hashlib

import torch
from torch import Tensor

from cnnlab.data.listing import join_notes
from cnnlab.data.store import DerivedStore, Splits, Store
from cnnlab.runtime import make_generator


class PermutedStore(DerivedStore):
    """Another Store, with one permutation of the pixels applied to every image.

    A fully connected network learns as well as before; a convolutional one loses the locality it
    relies on. The channels of a pixel stay one pixel.
    """

    def __init__(self, parent: Store, seed: int) -> None:
        super().__init__(parent)
        self.mirror_allowed, self.statistics = False, None
        self.note = join_notes(parent.note, "pixels permuted")
        height, width, _ = parent.image_shape
        generator = make_generator(seed, "permutation")
        self._order = torch.randperm(height * width, generator=generator)
        self._seed = seed

    def _with_parent(self, parent: Store) -> "PermutedStore":
        return PermutedStore(parent, self._seed)

    def _transform(self, images: Tensor) -> Tensor:
        return images.flatten(1, 2).index_select(1, self._order).view_as(images)

    def _derived_digest(self, digest: str) -> str:
        state = hashlib.sha256(digest.encode())
        state.update(self._order.numpy().tobytes())
        return state.hexdigest()


def permute(splits: Splits, seed: int) -> Splits:
    """Apply the same permutation to every split."""
    validation = PermutedStore(splits.validation, seed) if splits.validation else None
    return Splits(PermutedStore(splits.train, seed), validation, PermutedStore(splits.test, seed))
