"""What the processes of one job tell one another; alone, everything is the identity."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from cnnlab.distributed.share import WHOLE, Share
from cnnlab.errors import PeerLostError


class Blame(Protocol):
    """Finds out who is missing; knows how far each process got."""

    def enter(self) -> None:
        """Note that this process takes part in one more exchange."""

    def note_progress(self) -> None:
        """Note that this process works, where it enters no exchange for long."""

    def lost(self, error: Exception) -> PeerLostError:
        """Say which process was lost, and why as far as it said so."""

    def report_to(self, folder: str, record: Callable[[str], None]) -> None:
        """Write error.json into this folder and call `record` when a process is lost."""


class Peers:
    """The processes of this job. Every process calls every method, in the same order.

    control: a group on the CPU for what the host decides; gradients take the default group.
    """

    def __init__(self, share: Share = WHOLE, control: Any = None, blame: Blame | None = None):
        self.share = share
        self._control, self._blame = control, blame

    @property
    def rank(self) -> int:
        """Return this process's number, 0 for the one that writes and speaks."""
        return self.share.rank

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        return self.share.size

    @property
    def is_first(self) -> bool:
        """Say whether this process writes files and speaks."""
        return self.share.rank == 0

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Turn what a broken connection raises into PeerLostError, naming the lost process."""
        if self._blame is None:
            yield
            return
        self._blame.enter()
        try:
            yield
        except RuntimeError as error:  # torch raises nothing more specific on the CPU
            raise self._blame.lost(error) from error

    def broadcast(self, item: Any) -> Any:
        """Return the first process's `item`: plain data, small."""
        if self.size == 1:
            return item
        box = [item]
        with self.exchange():
            dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, item: Any) -> list[Any]:
        """Return every process's `item`, by rank; the same list everywhere."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        with self.exchange():
            dist.all_gather_object(items, item, group=self._control)
        return items

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers: how a request to one reaches all."""
        if self.size == 1:
            return number
        box = torch.tensor([number])
        with self.exchange():
            dist.all_reduce(box, op=dist.ReduceOp.MAX, group=self._control)
        return int(box)

    def start_sum(self, tensor: Tensor) -> Any:
        """Begin to add up a tensor over the processes, in place; the result waits for `finish`."""
        with self.exchange():
            return dist.all_reduce(tensor, async_op=True)

    def finish(self, work: Any) -> None:
        """Wait for a sum; on CUDA only the stream waits, not the host."""
        with self.exchange():
            work.wait()

    def note_progress(self) -> None:
        """Say that this process works: needed where it enters no exchange for long."""
        if self._blame is not None:
            self._blame.note_progress()

    def report_to(self, folder: str, record: Callable[[str], None]) -> None:
        """From now on a failure goes to error.json in this folder, and in words to `record`.

        One process does both, whichever notices first.
        """
        if self._blame is not None:
            self._blame.report_to(folder, record)


ALONE = Peers()
"""One process."""
