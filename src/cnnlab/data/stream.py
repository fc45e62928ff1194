"""Batches of a Store: shuffled for ever for training, once in order for evaluation."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlab.data.ahead import ahead
from cnnlab.data.residency import Prepare, place
from cnnlab.data.store import Store, all_indices
from cnnlab.distributed.share import WHOLE, Part, Share
from cnnlab.errors import UsageError
from cnnlab.runtime import make_generator


class Batch(NamedTuple):
    """images: uint8 [n,C,S,S] and labels: int64 [n], on the device; the step they belong to.

    part: which rows of the global batch they are, where several processes share it; None: all.
    """

    images: Tensor
    labels: Tensor
    step: int
    epoch: int
    part: Part | None = None


_DEPTH = 3
"""Batches read ahead: one being used, one on its way to the device, one being decoded."""


def received(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Tell CUDA's allocator that this thread uses tensors that another thread brought there."""
    for batch in batches:
        if batch.images.is_cuda:
            current = torch.cuda.current_stream(batch.images.device)
            batch.images.record_stream(current)
            batch.labels.record_stream(current)
        yield batch


class Stream:
    """Endless shuffled batches; what step k shows depends on (seed, k) alone.

    Each epoch shows every image once, the last short batch included. limit_batches: only the first
    so many of each epoch.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        residency: str = "auto",
        limit_batches: int | None = None,
        prepare: Prepare = lambda images: images,
    ) -> None:
        device = torch.device(device)
        whole = -(-len(store) // batch_size)
        self.steps_per_epoch = min(whole, limit_batches or whole)
        self._num_images, self._batch_size, self._seed = len(store), batch_size, seed
        self._one_batch, self._share, self._decodes = False, WHOLE, store.decodes
        self._pixels = place(store, prepare, device, residency)
        self._labels = store.labels.to(device)
        self.residency = self._pixels.residency

    def advice(self) -> str | None:
        """Say what would be faster, where images are decoded again in every epoch."""
        if self.residency != "mapped" or not self._decodes:
            return None
        return (
            "every epoch decodes its images again; `cnnlab prepare` once, then"
            " dataset.root=STORE, reads them many times faster (docs/data.md)"
        )

    def repeat_first_batch(self) -> None:
        """From now on show the first batch of the first epoch for ever: it must be learned."""
        self._one_batch = True

    def take_share(self, share: Share) -> None:
        """From now on yield this process's rows of each batch; together they are the batch."""
        self._share = share

    def num_images_at(self, step: int) -> int:
        """Return how many images all processes together see in this step."""
        place = 0 if self._one_batch else step % self.steps_per_epoch
        return min(self._batch_size, self._num_images - place * self._batch_size)

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of step start_step, start_step + 1, ... for ever.

        Images that are read batch by batch are read ahead by a thread.
        """
        made = self._make(start_step)
        return made if self.residency != "mapped" else received(ahead(made, _DEPTH))

    def _make(self, step: int) -> Iterator[Batch]:
        while True:
            epoch = step // self.steps_per_epoch
            for indices in self._epoch(epoch)[step % self.steps_per_epoch :]:
                yield self._batch(indices, step, epoch)
                step += 1

    def _batch(self, indices: Tensor, step: int, epoch: int) -> Batch:
        total = len(indices)
        part = None
        if self._share.size > 1:
            part, indices = self._share.part(total), indices[self._share.rows(total)]
        labels = self._labels.index_select(0, indices.to(self._labels.device))
        return Batch(self._pixels.take(indices), labels, step, epoch, part)

    def _epoch(self, epoch: int) -> list[Tensor]:
        """Return the indices of each of the epoch's batches."""
        generator = make_generator(self._seed, "order", 0 if self._one_batch else epoch)
        batches = torch.randperm(self._num_images, generator=generator).split(self._batch_size)
        if self._one_batch:
            return [batches[0]] * self.steps_per_epoch
        return list(batches[: self.steps_per_epoch])


class InOrder:
    """Batches of a Store from its first image to its last; can be gone through again and again."""

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        device: torch.device | str,
        residency: str = "auto",
        prepare: Prepare = lambda images: images,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, expected at least 1")
        device = torch.device(device)
        self._pixels = place(store, prepare, device, residency)
        self._labels = store.labels.to(device)
        self._indices, self._batch_size = all_indices(store), batch_size
        self._parts = self._indices.split(batch_size)
        self.residency = self._pixels.residency

    def take_share(self, share: Share) -> None:
        """From now on yield this process's images of the set; together they are the set."""
        own = self._indices[share.rows(len(self._indices))]
        self._parts = own.split(self._batch_size) if len(own) else ()

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        made = self._make()
        return made if self.residency != "mapped" else received(ahead(made, _DEPTH))

    def _make(self) -> Iterator[Batch]:
        for step, indices in enumerate(self._parts):
            start, stop = int(indices[0]), int(indices[-1]) + 1
            yield Batch(self._pixels.take_run(start, stop), self._labels[start:stop], step, 0)


def in_order(
    store: Store,
    batch_size: int,
    device: torch.device | str,
    prepare: Prepare = lambda images: images,
) -> InOrder:
    """Return the batches of one pass for evaluation; pixels are prepared once, not every pass."""
    return InOrder(store, batch_size=batch_size, device=device, prepare=prepare)
