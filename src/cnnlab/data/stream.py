"""Batches of a Store: endless and shuffled for training, once in order for evaluation."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlab.data.prefetch import prefetch
from cnnlab.data.readers import Ring, in_order
from cnnlab.data.residency import Pixels, Prepare, place
from cnnlab.data.sampler import BatchSampler
from cnnlab.data.store import Store, all_indices
from cnnlab.data.upload import upload
from cnnlab.distributed.share import WHOLE, RankSlice, Share
from cnnlab.errors import UsageError


class Batch(NamedTuple):
    """images: uint8 [n,C,S,S] and labels: int64 [n], on the device; the step they belong to.

    rank_slice: which rows of the global batch they are; None: all, or not a batch of training.
    """

    images: Tensor
    labels: Tensor
    step: int
    epoch: int
    rank_slice: RankSlice | None = None


class _Job(NamedTuple):
    """A batch that is to be made: its images, by where the pixels and where the labels are."""

    of_pixels: Tensor
    of_labels: Tensor
    step: int
    epoch: int
    rank_slice: RankSlice


_PREFETCHED = 3
"""Batches in flight: one being used, one on its way to the device, one being decoded."""


def received(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Record on this thread's CUDA stream that it uses tensors that another thread copied."""
    for batch in batches:
        if batch.images.is_cuda:
            current = torch.cuda.current_stream(batch.images.device)
            batch.images.record_stream(current)
            batch.labels.record_stream(current)
        yield batch


class Stream:
    """Endless shuffled batches; what step k shows depends on (seed, k) alone.

    share: yield this process's rows of each global batch; the batches of all ranks make it up.
    """

    def __init__(
        self,
        store: Store,
        sampler: BatchSampler,
        *,
        device: torch.device | str,
        residency: str = "auto",
        prepare: Prepare = lambda images: images,
        share: Share = WHOLE,
    ) -> None:
        device = torch.device(device)
        self.steps_per_epoch = sampler.steps_per_epoch
        self._sampler, self._share, self._decodes = sampler, share, store.decodes
        self._pixels: Pixels = place(store, prepare, device, residency)
        self._store_labels, self._labels = store.labels, store.labels.to(device)
        self.residency = self._pixels.residency
        self._num_readers = 0  # a thread that prefetches, where images are mapped

    def read_by(self, ring: Ring) -> None:
        """Let the threads of `ring`, of the same Store, read the batches of mapped images.

        Raises UsageError where images are kept in memory.
        """
        if self.residency != "mapped":
            raise UsageError(
                "dataset.num_readers and dataset.decode have no effect: the images are kept in "
                "memory",
                f"dataset.residency is {self.residency}",
                "dataset.residency=mapped reads them batch by batch",
            )
        self._pixels, self._num_readers = ring, ring.num_readers

    def advice(self) -> str | None:
        """Return what would be faster, where images are decoded again in every epoch."""
        if self.residency != "mapped" or not self._decodes:
            return None
        return (
            "every epoch decodes its images again; `cnnlab prepare` once, then"
            " dataset.root=STORE, reads them many times faster (docs/data.md)"
        )

    def num_images_at(self, step: int) -> int:
        """Return the size of the step's global batch, that of all processes."""
        return self._sampler.num_images_at(step)

    def rows_at(self, step: int) -> RankSlice:
        """Return which rows of the step's global batch this process's batch has."""
        return self._share.slice_of(self.num_images_at(step))

    def epoch_labels(self, epoch: int) -> list[Tensor]:
        """Return the labels of each global batch of the epoch, int64 on the CPU."""
        order = self._sampler.order(epoch)
        return [self._store_labels[indices] for indices in self._sampler.batches(order)]

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of step start_step, start_step + 1, ... without end.

        Mapped images are prefetched by a thread, or read by several.
        """
        if self._num_readers:
            return received(in_order(self._jobs(start_step), self._made, self._num_readers))
        made = map(self._made, self._jobs(start_step))
        return made if self.residency != "mapped" else received(prefetch(made, _PREFETCHED))

    def _jobs(self, step: int) -> Iterator[_Job]:
        while True:
            epoch = step // self.steps_per_epoch
            for of_pixels, of_labels in self._epoch(epoch)[step % self.steps_per_epoch :]:
                rank_slice = self._share.slice_of(len(of_labels))
                if len(rank_slice) < rank_slice.total:
                    of_pixels, of_labels = of_pixels[rank_slice.rows], of_labels[rank_slice.rows]
                yield _Job(of_pixels, of_labels, step, epoch, rank_slice)
                step += 1

    def _made(self, job: _Job) -> Batch:
        labels = self._labels.index_select(0, job.of_labels)
        return Batch(self._pixels.take(job.of_pixels), labels, job.step, job.epoch, job.rank_slice)

    def _epoch(self, epoch: int) -> list[tuple[Tensor, Tensor]]:
        """Return the indices of each batch twice: where the pixels are kept, and the labels.

        The whole order is copied there once, so that no step has to.
        """
        order = self._sampler.order(epoch)
        homes = {self._pixels.home, self._labels.device}
        batches = {home: self._sampler.batches(upload(order, home)) for home in homes}
        of_pixels, of_labels = batches[self._pixels.home], batches[self._labels.device]
        return list(zip(of_pixels, of_labels, strict=True))


class InOrder:
    """Batches of a Store from its first image to its last; can be iterated again and again.

    share: yield this process's contiguous part of the images; those of all ranks make up the set.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        device: torch.device | str,
        residency: str = "auto",
        prepare: Prepare = lambda images: images,
        share: Share = WHOLE,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, expected at least 1")
        device = torch.device(device)
        self._pixels = place(store, prepare, device, residency)
        self._labels = store.labels.to(device)
        own = all_indices(store)[share.slice_of(len(store)).rows]
        self._batches = own.split(batch_size) if len(own) else ()
        self.residency = self._pixels.residency

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        made = self._make()
        return made if self.residency != "mapped" else received(prefetch(made, _PREFETCHED))

    def _make(self) -> Iterator[Batch]:
        for step, indices in enumerate(self._batches):
            start, stop = int(indices[0]), int(indices[-1]) + 1
            yield Batch(self._pixels.take_run(start, stop), self._labels[start:stop], step, 0)
