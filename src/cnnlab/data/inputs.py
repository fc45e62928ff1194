"""What a network is fed: a batch of stored pixels, augmented and normalized."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from cnnlab.cpu.buffer_pool import BufferPool
from cnnlab.data.augment import Augmentation, rows_of
from cnnlab.distributed.share import RankSlice
from cnnlab.preprocessing import Preprocessing

_CHUNK_BYTES = 8 << 20
"""Of float pixels: so much is still in the processor's cache when the next operation reads it."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Augments, then normalizes.

    On a CPU, a large batch is processed in chunks of a few images. Their parameters are cut out of
    those of the whole batch, so chunks change no bit of the result.
    """

    augmentation: Augmentation
    preprocessing: Preprocessing
    _buffers: BufferPool = field(default_factory=BufferPool)

    def __call__(
        self, images: Tensor, generator: Generator, rank_slice: RankSlice | None = None
    ) -> Tensor:
        """uint8 [N,C,S,S] -> float32 [N,C,s,s] on the images' device.

        generator: of the step; parameters of the whole global batch are drawn from it. rank_slice:
        which rows of the global batch the images are; None: all of them.
        """
        own = RankSlice(0, len(images), len(images)) if rank_slice is None else rank_slice
        drawn = self.augmentation.draw(own.total, images.shape[-1], generator)
        parameters = rows_of(drawn, own.rows)

        chunk = self._images_per_chunk(images)
        if images.device.type != "cpu" or len(images) <= chunk:
            return self.preprocessing.normalize(self.augmentation.apply(images, parameters))

        out: Tensor | None = None
        for rows in _chunks(len(images), chunk):
            augmented = self.augmentation.apply(images[rows], rows_of(parameters, rows))
            if out is None:
                out = self._empty(len(images), augmented)
            self.preprocessing.normalize(augmented, out=out[rows])
        assert out is not None, "there are more images than fit a chunk"
        return out

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


def _chunks(num_images: int, size: int) -> Iterator[slice]:
    for first in range(0, num_images, size):
        yield slice(first, min(first + size, num_images))
