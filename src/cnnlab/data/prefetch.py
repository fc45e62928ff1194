"""Prefetching: a thread makes the next few items of an iterator while the last one is used."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from cnnlab.threads import BackgroundThread

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


def prefetch(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """Yield what `items` yields, in the same order, made at most `depth` items in advance.

    An exception of `items` is raised where its item would have come. Closing this iterator (or
    dropping it) ends the thread: both ends poll a flag, so neither can wait forever.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    closed = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        while not closed.is_set():
            try:
                made.put((is_item, value), timeout=_POLL_SECONDS)
                break
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(True, item)
                if closed.is_set():
                    return
            put(False, None)
        except BaseException as error:  # raised again in the consumer, whatever it is
            put(False, error)

    thread = BackgroundThread(make, "prefetch", stop=closed.set)
    try:
        while True:
            is_item, value = _take(made, thread)
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        thread.end()


def _take(made: "queue.Queue[tuple[bool, Any]]", thread: BackgroundThread) -> tuple[bool, Any]:
    while True:
        try:
            return made.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            assert thread.is_alive or not made.empty(), "the thread ends with a last item"
