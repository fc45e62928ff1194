"""Make the next few items of an iterator in a thread of its own while the last one is used."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from cnnlab.threads import Beside

Item = TypeVar("Item")

_LOOK_SECONDS = 0.1


def ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """Yield what `items` yields, made at most `depth` items in advance, in the same order.

    An exception of `items` is raised where its item would have come. Closing this iterator (or
    dropping it) ends the thread: both ends look at a flag, so neither can wait for ever.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    closed = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        while not closed.is_set():
            try:
                made.put((is_item, value), timeout=_LOOK_SECONDS)
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
        except BaseException as error:  # told to the one who waits, whatever it is
            put(False, error)

    thread = Beside(make, "ahead", stop=closed.set)
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


def _take(made: "queue.Queue[tuple[bool, Any]]", thread: Beside) -> tuple[bool, Any]:
    while True:
        try:
            return made.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            assert thread.is_alive or not made.empty(), "the thread ends with a word"
