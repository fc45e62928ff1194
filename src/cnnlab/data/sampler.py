"""Which images each training step shows: a function of the seed and the step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab.runtime import make_generator


@dataclass(frozen=True)
class BatchSampler:
    """Shuffles `num_images` images for each epoch and splits the order into batches.

    An epoch shows every image once; its last batch may be short. limit_batches: only the first so
    many batches of each epoch. overfit_one_batch: every step shows the first batch of epoch 0.
    """

    num_images: int
    batch_size: int
    seed: int
    limit_batches: int | None = None
    overfit_one_batch: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Return how many batches an epoch shows."""
        whole = -(-self.num_images // self.batch_size)
        return min(whole, self.limit_batches or whole)

    def num_images_at(self, step: int) -> int:
        """Return the size of the step's batch."""
        index = 0 if self.overfit_one_batch else step % self.steps_per_epoch
        return min(self.batch_size, self.num_images - index * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Return the image indices that the epoch shows, int64 on the CPU: what `batches` cuts."""
        generator = make_generator(self.seed, "order", 0 if self.overfit_one_batch else epoch)
        order = torch.randperm(self.num_images, generator=generator)
        return order[: self.batch_size * (1 if self.overfit_one_batch else self.steps_per_epoch)]

    def batches(self, order: Tensor) -> list[Tensor]:
        """Return the image indices of each batch: views of the epoch's order, on its device."""
        batches = order.split(self.batch_size)
        if self.overfit_one_batch:
            return [batches[0]] * self.steps_per_epoch
        return list(batches)
