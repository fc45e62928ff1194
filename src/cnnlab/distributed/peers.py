"""Collective operations of the processes of one job; for one process they are the identity."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from cnnlab.distributed.byte_account import gathered, summed
from cnnlab.distributed.failure_detector import FailureDetector
from cnnlab.distributed.meeting import Facts, check_alike
from cnnlab.distributed.share import WHOLE, Share
from cnnlab.errors import is_out_of_memory


class Peers:
    """The processes of this job. Every process calls every method, in the same order.

    control: a process group on the CPU for decisions of the host; gradients take the default one.
    num_bytes: that this process has sent in sums and gatherings of tensors, as a ring of processes
    sends them (`byte_account`).
    """

    def __init__(
        self, share: Share = WHOLE, control: Any = None, detector: FailureDetector | None = None
    ) -> None:
        self.share = share
        self._control, self._detector = control, detector
        self.num_bytes = 0.0

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        return self.share.size

    @property
    def is_first(self) -> bool:
        """Return whether this process writes files and prints."""
        return self.share.rank == 0

    @contextmanager
    def collective(self) -> Iterator[None]:
        """Turn what a broken connection raises into PeerLostError, which names the process.

        A failure of this process's own memory or device stays what it is.
        """
        if self._detector is None:
            yield
            return

        self._detector.enter()
        try:
            yield
        except RuntimeError as error:  # torch raises nothing more specific on the CPU
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            raise self._detector.lost(error) from error

    def broadcast(self, item: Any) -> Any:
        """Return the first process's `item`: plain data, small."""
        if self.size == 1:
            return item
        box = [item]
        with self.collective():
            dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, item: Any) -> list[Any]:
        """Return every process's `item`, by rank; the same list everywhere."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        with self.collective():
            dist.all_gather_object(items, item, group=self._control)
        return items

    def agree(self, facts: Facts) -> None:
        """Raise UsageError in every process unless all have the same facts, plain data by key."""
        if self.size > 1:
            check_alike(dict(enumerate(self.gather(dict(facts)))))

    def largest(self, number: int) -> int:
        """Return the maximum over the processes: how a request to one reaches all."""
        if self.size == 1:
            return number
        box = torch.tensor([number])
        with self.collective():
            dist.all_reduce(box, op=dist.ReduceOp.MAX, group=self._control)
        return int(box)

    def start_sum(self, tensor: Tensor) -> Any:
        """Start an all-reduce sum of a tensor, in place; `finish` waits for the result."""
        self.num_bytes += summed(tensor.nbytes, self.size)
        with self.collective():
            return dist.all_reduce(tensor, async_op=True)

    def finish(self, work: Any) -> None:
        """Wait for a sum; on CUDA only the stream waits, not the host."""
        with self.collective():
            work.wait()

    def sum(self, tensor: Tensor) -> None:
        """Sum a contiguous tensor over the processes, in place."""
        self.finish(self.start_sum(tensor))

    def gather_shares(self, own: Tensor, total: int, dim: int = 0) -> Tensor:
        """Return the tensor, `total` along `dim`, of which each process has its share; contiguous.

        The shares are those of `Share`, which may differ by one and may be empty.
        """
        if self.size == 1:
            return own
        lengths = [len(Share(rank, self.size).slice_of(total)) for rank in range(self.size)]
        longest = max(lengths)
        missing = longest - own.shape[dim]
        if missing:  # a collective takes equal parts
            own = F.pad(own, [0, 0] * (own.dim() - 1 - dim) + [0, missing])

        received = own.new_empty(self.size * len(own), *own.shape[1:])
        self.num_bytes += gathered(received.nbytes, self.size)
        with self.collective():
            dist.all_gather_into_tensor(received, own.contiguous())
        parts = zip(received.view(self.size, *own.shape), lengths, strict=True)
        return torch.cat([part.narrow(dim, 0, length) for part, length in parts], dim)

    def complete(self, whole: Tensor) -> None:
        """Fill in the rows of a contiguous tensor that are other processes' share, in place."""
        if self.size == 1:
            return
        self.num_bytes += gathered(whole.nbytes, self.size)
        for rank in range(self.size):
            rows = whole[Share(rank, self.size).slice_of(len(whole)).rows]
            with self.collective():
                dist.broadcast(rows, src=rank)

    def note_progress(self) -> None:
        """Report that this process works: needed where it enters no collective for long."""
        if self._detector is not None:
            self._detector.note_progress()

    def report_to(self, folder: str, record: Callable[[str], None]) -> None:
        """Write a later failure to error.json in this folder, and its message to `record`.

        One process does both, whichever notices first.
        """
        if self._detector is not None:
            self._detector.report_to(folder, record)


ALONE = Peers()
"""One process."""
