"""Threads that share the decoding of a batch; the decoders free Python's lock while they work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Workers:
    """Runs a function over parts of 0..num_items-1; what comes out never depends on the threads."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[range], list[Any]], num_items: int) -> list[Any]:
        """Return the lists of (place, ...) that `work` gives for each part, joined, by place.

        Parts interleave, because neighbours in a listing are alike in size. An exception in a
        part is raised here.
        """
        if self.num_threads == 1 or num_items < 2:
            return work(range(num_items))
        if self._pool is None:
            # Python itself joins the threads of a pool before it ends
            self._pool = ThreadPoolExecutor(self.num_threads, "decode")
        num_parts = min(num_items, 4 * self.num_threads)
        parts = [range(first, num_items, num_parts) for first in range(num_parts)]
        found = [item for part in self._pool.map(work, parts) for item in part]
        return sorted(found, key=lambda item: item[0])
