"""Background threads that end before Python does.

A daemon thread that returns from native code while Python finalizes ends the whole process with
SIGABRT ("terminate called without an active exception"); another thread keeps the process alive.
So every thread of cnnlab is asked to stop and then joined, at exit at the latest.
"""

import atexit
import os
import threading
from collections.abc import Callable


class BackgroundThread:
    """Run `work` in a thread until `end`, which the exit of Python calls as well.

    stop: makes `work` return soon, whatever it waits for; may be called twice. patience_seconds:
    how long `end` waits for it; None: without limit. A limit is for work that may be stuck in a
    call to another machine.
    """

    def __init__(
        self,
        work: Callable[[], None],
        name: str,
        stop: Callable[[], object],
        patience_seconds: float | None = None,
    ) -> None:
        self._stop, self._patience_seconds = stop, patience_seconds
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        atexit.register(self.end)  # before the start: an interrupt may come right after it
        try:
            self._thread.start()
        except BaseException:
            self.end()
            raise

    @property
    def is_alive(self) -> bool:
        """Return whether the work is still being done."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Stop the thread and join it; to be called from the thread that started it."""
        self._stop()
        if self.is_alive:  # else it has ended, or was never started
            self._thread.join(self._patience_seconds)
        atexit.unregister(self.end)


def leave_after(seconds: float, code: int) -> None:
    """End the process with `code` after some seconds, whatever it is waiting for.

    The timer is not joined: it waits on a lock of Python's own, where an exit does no harm.
    """
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
