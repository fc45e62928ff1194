"""CUDA graphs of a pretended device: the operations of a capture, done again on the same memory.

As on a real one nothing is computed while it captures: what the operations wrote is undone, and new
results hold garbage until the first replay. A replay knows no number but those of the capture, and
draws from the generator as it is seeded then. What a capturing stream forbids raises here too: a
wait, a copy that blocks, pinned memory; in the mode "global" the last in any thread.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tests.pretended.record import KERNEL, WAIT, Record

Drawing = Callable[[], AbstractContextManager[object]]


class _Call(NamedTuple):
    """An operation and what it returned when it was captured."""

    compute: Callable[[], Any]
    results: Sequence[Tensor]


class Graph:
    """Stands in for torch.cuda.CUDAGraph."""

    def __init__(self, record: Record, keep_graph: bool = False) -> None:
        self._record = record
        self._calls: list[_Call] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._new: list[Tensor] = []

    def add(
        self, compute: Callable[[], Any], inputs: Sequence[Tensor], written: Sequence[Tensor]
    ) -> Any:
        """Compute an operation on plain tensors, and keep it; written: of its inputs."""
        for tensor in written:
            storage = tensor.untyped_storage()
            self._before.setdefault(storage._cdata, (storage, storage.clone()))

        found = compute()
        known = {tensor.untyped_storage()._cdata for tensor in inputs}
        results = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        self._new += [r for r in results if r.untyped_storage()._cdata not in known]
        self._calls.append(_Call(compute, results))
        return found

    @torch.no_grad()
    def end(self) -> None:
        """Leave everything as if nothing had been computed."""
        for storage, before in self._before.values():
            storage.copy_(before)
        for tensor in self._new:
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))

    @torch.no_grad()
    def replay(self) -> None:
        """Compute all operations again; the host asks for it at once."""
        self._record.add(KERNEL, "replay")
        for compute, results in self._calls:
            again = [leaf for leaf in tree_leaves(compute()) if isinstance(leaf, Tensor)]
            for mine, new in zip(results, again, strict=True):
                if mine.untyped_storage()._cdata != new.untyped_storage()._cdata:
                    mine.copy_(new)


@contextlib.contextmanager
def capturing(
    record: Record,
    graph: Graph,
    pool: object = None,
    stream: object = None,
    capture_error_mode: str = "global",
) -> Iterator[None]:
    """Stand in for torch.cuda.graph."""
    record.add(WAIT, "synchronize")
    record.waited_for()
    record.capture_in(threading.get_ident(), graph, everywhere=capture_error_mode == "global")
    try:
        yield
        if record.is_broken:
            raise RuntimeError("operation failed due to a previous error during capture")
    finally:
        record.capture_in(None)
    graph.end()
