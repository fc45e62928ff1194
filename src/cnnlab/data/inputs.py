"""What a network is fed: a batch of stored pixels, augmented and normalized."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.data.ahead import DrawnAhead
from cnnlab.data.augment import UNCHANGED, Augmentation, rows_of
from cnnlab.data.stream import Batch
from cnnlab.data.upload import upload_together
from cnnlab.distributed.share import RankSlice
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

    rows_at: step -> which rows of its global batch the batches have. With it, the parameters of
    many steps are drawn and copied to a GPU at once; without, those of each batch alone.
    """

    augmentation: Augmentation
    preprocessing: Preprocessing
    seed: int
    rows_at: Callable[[int], RankSlice] | None = None
    _buffers: BufferPool = field(default_factory=BufferPool)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the batch's images as float32 [n,C,s,s], on their device."""
        images, parameters = batch.images, self._parameters(batch)
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

    def _parameters(self, batch: Batch) -> Any:
        """Return the parameters of the batch's images, on their device."""
        if self.augmentation == UNCHANGED:  # saves making a generator in every step
            return ()
        images, is_on_cpu = batch.images, batch.images.device.type == "cpu"
        if self.rows_at is not None and not is_on_cpu:
            return self._ahead.at(batch.step, images)

        own = batch.rank_slice or RankSlice(0, len(images), len(images))
        drawn = self._draw(batch.step, images.shape[-1], own)
        return drawn if is_on_cpu else upload_together(drawn, images.device)

    def _draw(self, step: int, side: int, own: RankSlice) -> Any:
        """Return the own rows of the parameters of the step's global batch."""
        generator = make_generator(self.seed, "augment", step)
        drawn = self.augmentation.draw(own.total, side, generator)
        return drawn if len(own) == own.total else rows_of(drawn, own.rows)

    @cached_property
    def _ahead(self) -> DrawnAhead:
        assert self.rows_at is not None
        return DrawnAhead(self._draw, self.rows_at)

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
