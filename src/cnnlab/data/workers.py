"""Decoding threads; the decoders release the GIL while they work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Workers:
    """Runs a function over parts of 0..num_items-1; the result does not depend on the threads."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[range], list[Any]], num_items: int) -> list[Any]:
        """Return the (index, ...) tuples that `work` returns for the parts, sorted by index.

        Parts interleave, because neighbors in a listing have similar sizes. An exception in a part
        is raised here.
        """
        if self.num_threads == 1 or num_items < 2:
            return work(range(num_items))

        if self._pool is None:
            # Python joins the threads of a pool before it exits
            self._pool = ThreadPoolExecutor(self.num_threads, "decode")
        num_parts = min(num_items, 4 * self.num_threads)
        parts = [range(first, num_items, num_parts) for first in range(num_parts)]
        found = [item for part in self._pool.map(work, parts) for item in part]
        return sorted(found, key=lambda item: item[0])
