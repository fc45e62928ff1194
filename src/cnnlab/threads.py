"""Threads that are over before Python is.

A daemon thread that comes back from native code while Python finalizes ends the whole process with
SIGABRT ("terminate called without an active exception"); one that is no daemon keeps the process
alive. So every thread of ours is told to stop and then joined, at the latest at exit.
"""

import atexit
import os
import threading
from collections.abc import Callable


class Beside:
    """Runs `work` in a thread from now on, until `end`; the exit of Python calls `end` as well.

    stop: makes `work` return soon, whatever it waits for; may be called twice. patience_seconds:
    how long `end` waits for it, None without limit; only for work that may be stuck in a call to
    another machine.
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
        atexit.register(self.end)  # first: nothing may come between the start and this
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
        """Tell the thread to stop and wait until it has; for the thread that started it."""
        self._stop()
        if self.is_alive:  # else it is over, or never began
            self._thread.join(self._patience_seconds)
        atexit.unregister(self.end)


def leave_after(seconds: float, code: int) -> None:
    """End the process with `code` in some seconds, whatever it waits for by then.

    Not joined: until then the thread waits on a lock of Python's own, and the exit ends it there
    without harm.
    """
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()
