"""Several threads that read the batches of mapped images, each into pinned memory of its own.

`dataset.num_readers` and `dataset.decode`. Not yet run on a GPU. A reader fills its slot of a ring,
copies it to the device on the slot's stream and waits for that copy alone; so a slot is written
again only when the device has read it, and no copy waits for another or for a training step.
"""

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from cnnlab.data.device_jpeg import decode_on
from cnnlab.data.store import Store
from cnnlab.errors import UsageError
from cnnlab.runtime import to_device

Job = TypeVar("Job")
Item = TypeVar("Item")
Prepare = Callable[[Tensor], Tensor]

READ_AHEAD = 2
"""Batches that are read or wait to be used, for each reader."""


@dataclass
class _Slot:
    """memory: pinned, uint8, as large as the largest batch so far; stream: None on a CPU."""

    stream: "torch.cuda.Stream | None"
    memory: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return uninitialized numbers of the slot, or of their own where nothing is copied."""
        if self.stream is None:
            return torch.empty(shape, dtype=torch.uint8)
        number = torch.Size(shape).numel()
        if len(self.memory) < number:
            self.memory = torch.empty(number, dtype=torch.uint8).pin_memory()
        return self.memory[:number].view(shape)


class Ring:
    """Mapped images, read by as many threads at once as there are slots; see `residency.Pixels`.

    decodes_there: the device decodes the JPEGs of the Store. Raises UsageError for a Store whose
    images are not read in this way.
    """

    residency, home = "mapped", torch.device("cpu")

    def __init__(
        self,
        store: Store,
        prepare: Prepare,
        device: torch.device,
        num_readers: int,
        decodes_there: bool = False,
    ) -> None:
        _check(store, device, num_readers, decodes_there)
        self._store, self._prepare, self._device = store, prepare, device
        self.num_readers, self._decodes_there = num_readers, decodes_there
        one = torch.zeros(1, *store.image_shape, dtype=torch.uint8).permute(0, 3, 1, 2)
        self._is_as_stored = prepare(one) is one
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for _ in range(num_readers):
            self._free.put(_Slot(torch.cuda.Stream(device) if device.type == "cuda" else None))

    def take(self, indices: Tensor) -> Tensor:
        """Return uint8 [n,C,S,S] on the device, channels_last, for indices [n] on the CPU."""
        slot = self._free.get()
        try:
            if self._decodes_there:
                return self._decoded(indices, slot)
            return self._read(indices, slot)
        finally:
            self._free.put(slot)

    def take_run(self, start: int, stop: int) -> Tensor:
        """Return images start..stop-1."""
        return self.take(torch.arange(start, stop))

    def _read(self, indices: Tensor, slot: _Slot) -> Tensor:
        if self._is_as_stored:
            images = slot.empty((len(indices), *self._store.image_shape))
            self._store.read_into(indices, images)
        else:
            stored = self._store.read(indices).permute(0, 3, 1, 2)
            prepared = self._prepare(stored).permute(0, 2, 3, 1)  # [n,S,S,C]
            images = slot.empty(tuple(prepared.shape)).copy_(prepared)

        if slot.stream is None:
            return images.permute(0, 3, 1, 2).to(self._device)
        with torch.cuda.stream(slot.stream):
            on_device = to_device(images, self._device)
        slot.stream.synchronize()  # in a reader's thread
        return on_device.permute(0, 3, 1, 2)

    def _decoded(self, indices: Tensor, slot: _Slot) -> Tensor:
        encoded, channels = self._store.encoded(indices), self._store.image_shape[2]
        if slot.stream is None:
            return self._prepared(decode_on(self._device, encoded, channels))
        with torch.cuda.stream(slot.stream):
            images = self._prepared(decode_on(self._device, encoded, channels))
        slot.stream.synchronize()
        return images

    def _prepared(self, images: Tensor) -> Tensor:
        return self._prepare(images).contiguous(memory_format=torch.channels_last)


def _check(store: Store, device: torch.device, num_readers: int, decodes_there: bool) -> None:
    if num_readers > 1 and store.decodes and not store.holds_jpegs:
        raise UsageError(
            f"dataset.num_readers={num_readers} has no effect on image files, which "
            "dataset.num_decode_threads decode",
            hint="leave it out, or prepare a Store: cnnlab prepare",
        )
    if decodes_there and device.type != "cuda":
        raise UsageError(
            f"dataset.decode=device needs a CUDA device, and the images go to {device}",
            hint="dataset.decode=host decodes them here",
        )
    if decodes_there and not store.holds_jpegs:
        raise UsageError(
            "dataset.decode=device needs a Store of JPEGs as they are fed",
            f"{store.name}, {store.split}",
            "cnnlab prepare encoding=jpeg makes one; dataset.decode=host needs none",
        )


def in_order(jobs: Iterator[Job], work: Callable[[Job], Item], num_readers: int) -> Iterator[Item]:
    """Yield what `work` makes of each job, in their order, made by so many threads in advance.

    An exception of a job is raised where its item would have come. Closing this iterator (or
    dropping it) waits for the jobs that have begun; Python itself does so at its end.
    """
    readers = ThreadPoolExecutor(num_readers, "reader")
    begun: deque[Future[Item]] = deque()
    try:
        for job in jobs:
            begun.append(readers.submit(work, job))
            if len(begun) > READ_AHEAD * num_readers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        readers.shutdown(cancel_futures=True)
