"""What a network is fed: a batch of stored pixels, augmented and normalized."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from cnnlab.data.augment import UNCHANGED, Augmentation
from cnnlab.distributed.share import Part
from cnnlab.kept_memory import KeptMemory
from cnnlab.preprocessing import Preprocessing

_PART_BYTES = 8 << 20
"""Of float pixels: so much is still in the processor's cache when the next operation reads it."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Augments, then normalizes.

    A large batch goes through a CPU a few images at a time, which changes no bit of the result:
    what is drawn belongs to a row of the batch, whoever computes it.
    """

    augmentation: Augmentation
    preprocessing: Preprocessing
    _memory: KeptMemory = field(default_factory=KeptMemory)

    def __call__(
        self, images: Tensor, generator: Callable[[], Generator], part: Part | None = None
    ) -> Tensor:
        """uint8 [N,C,S,S] -> float32 [N,C,s,s] on the images' device.

        generator: gives a fresh generator of the step, the same whenever it is called.
        """
        few = self._images_at_once(images)
        if images.device.type != "cpu" or len(images) <= few:
            return self.preprocessing.normalize(self._augmented(images, generator, part))
        whole = part or Part(0, len(images))
        ready: Tensor | None = None
        for first in range(0, len(images), few):
            rows = Part(whole.first + first, whole.total)
            pictures = self._augmented(images[first : first + few], generator, rows)
            if ready is None:
                ready = self._empty(len(images), pictures)
            self.preprocessing.normalize(pictures, out=ready[first : first + few])
        assert ready is not None, "there are more images than fit at once"
        return ready

    def _augmented(
        self, images: Tensor, generator: Callable[[], Generator], part: Part | None
    ) -> Tensor:
        if self.augmentation == UNCHANGED:  # a generator would be made for nothing
            return images
        return self.augmentation(images, generator(), part)

    def _images_at_once(self, images: Tensor) -> int:
        side = self.augmentation.output_size(images.shape[-1])
        return max(1, _PART_BYTES // (images.shape[1] * side * side * torch.float32.itemsize))

    def _empty(self, num_images: int, pictures: Tensor) -> Tensor:
        """Return room for all images, in the memory order of a few of them."""
        channels, height, width = pictures.shape[1:]
        if channels > 1 and pictures.is_contiguous(memory_format=torch.channels_last):
            lines = self._memory.empty((num_images, height, width, channels), torch.float32)
            return lines.permute(0, 3, 1, 2)
        return self._memory.empty((num_images, channels, height, width), torch.float32)
