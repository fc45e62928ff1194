"""What a network is fed: a batch of stored pixels, augmented and normalized."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.data.augment import UNCHANGED, Augmentation, rows_of
from cnnlab.data.stream import Batch
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator

_CHUNK_BYTES = 8 << 20
"""Of float pixels: still in the processor's cache when the next operation reads them."""


@dataclass(frozen=True)
class Phases:
    """What a network is fed up to an epoch, and what from then on: a function of the epoch alone.

    Both draw from the same generators, so pictures of the first phase are those of a run without a
    second.
    """

    first: Callable[[Batch], Tensor]
    later: Callable[[Batch], Tensor]
    epochs: int

    def __call__(self, batch: Batch) -> Tensor:
        """Return the batch's images as its epoch shows them."""
        return (self.first if batch.epoch < self.epochs else self.later)(batch)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Augments, then normalizes; what is drawn depends on (seed, step) alone.

    On a CPU, a large batch is processed in chunks of a few images. Their parameters are cut out of
    those of the whole batch, so chunks change no bit of the result.
    """

    augmentation: Augmentation
    preprocessing: Preprocessing
    seed: int
    _buffers: BufferPool = field(default_factory=BufferPool)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the batch's images as float32 [n,C,s,s], on their device."""
        images, parameters = batch.images, self._draw(batch)
        chunk = self._images_per_chunk(images)
        if images.device.type != "cpu" or len(images) <= chunk:
            return self.preprocessing.normalize(self.augmentation.apply(images, parameters))

        out: Tensor | None = None
        for first in range(0, len(images), chunk):
            rows = slice(first, first + chunk)
            augmented = self.augmentation.apply(images[rows], rows_of(parameters, rows))
            if out is None:
                out = self._empty(len(images), augmented)
            self.preprocessing.normalize(augmented, out=out[rows])
        assert out is not None, "there are more images than fit a chunk"
        return out

    def _draw(self, batch: Batch) -> Any:
        """Return the batch's rows of the parameters of the global batch."""
        if self.augmentation == UNCHANGED:  # saves making a generator in every step
            return ()
        own, (num_images, *_, side) = batch.rank_slice, batch.images.shape
        generator = make_generator(self.seed, "augment", batch.step)
        if own is None or own.total == num_images:
            return self.augmentation.draw(num_images, side, generator)
        return rows_of(self.augmentation.draw(own.total, side, generator), own.rows)

    def _images_per_chunk(self, images: Tensor) -> int:
        side = self.augmentation.output_size(images.shape[-1])
        return max(1, _CHUNK_BYTES // (images.shape[1] * side * side * torch.float32.itemsize))

    def _empty(self, num_images: int, augmented: Tensor) -> Tensor:
        """Return a buffer for all images, in the memory format of the first chunk."""
        channels, height, width = augmented.shape[1:]
        if channels > 1 and augmented.is_contiguous(memory_format=torch.channels_last):
            lines = self._buffers.empty((num_images, height, width, channels), torch.float32)
            return lines.permute(0, 3, 1, 2)
        return self._buffers.empty((num_images, channels, height, width), torch.float32)
