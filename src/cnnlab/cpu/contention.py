"""Whether threads that wait for one another lose their processors to other programs.

Processor time does not tell: a thread that spins for one that is not scheduled burns it as well.
Linux counts for each thread how long it could run but had no processor. Where the threads lose a
good part of their time that way to others, and most steps take several times as long as the
fastest, they wait for one another more than they compute. What they lose to threads of their own,
such as decoding ones, does not count: then the process has all of its processors. Other systems do
not tell, so nothing is said there.
Imports no torch.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TASKS = Path("/proc/self/task")

LEAST_SECONDS, LEAST_INTERVALS = 5.0, 4
"""What is judged is at least so long, so that a short burst of another program says nothing."""

LEAST_SHARE, LEAST_SLOWDOWN = 0.15, 3.0
"""Threads that want a processor are refused it for this share of the time, and a step takes so many
times as long as the fastest."""

STARVED_SHARE = 0.6
"""From here on the threads run for less than half of the time in which they could, whatever the
fastest step was: it may have been slowed down too."""


@dataclass(frozen=True)
class Times:
    """Seconds of all threads of this process: on a processor, and ready without one."""

    ran: float
    waited: float

    def since(self, before: "Times") -> "Times":
        """Return what came after `before`; threads that ended in between took theirs along."""
        return Times(max(0.0, self.ran - before.ran), max(0.0, self.waited - before.waited))


def read_times(tasks: Path = TASKS) -> Times | None:
    """Return the times of this process's threads; None where the system does not tell.

    Source: Documentation/scheduler/sched-stats.rst of Linux: nanoseconds running, nanoseconds
    waiting to run, time slices.
    """
    found = []
    for file in tasks.glob("*/schedstat"):
        try:
            ran, waited, *_ = map(int, file.read_text().split())
        except (OSError, ValueError):
            continue  # the thread has just ended
        found.append((ran, waited))
    if not found:
        return None  # not Linux, or a kernel that does not count
    return Times(sum(ran for ran, _ in found) / 1e9, sum(waited for _, waited in found) / 1e9)


def share_lost(times: Times, seconds: float, processors: int) -> float:
    """Return the share of the time in which threads could run that other programs took from them.

    seconds: of the wall clock. processors: that this process may use; while its threads run on all
    of them, they wait for one another's processor and not for another program's.
    """
    lost = min(times.waited, max(0.0, processors * seconds - times.ran))
    return lost / (times.ran + lost) if lost else 0.0


def is_hurting(share: float, step_seconds: float, fastest_seconds: float) -> bool:
    """Return whether threads that wait for one another are slowed down by other programs.

    share: lost to them. step_seconds, fastest_seconds: of the median and the fastest step.
    """
    slow = step_seconds >= LEAST_SLOWDOWN * fastest_seconds
    return share >= STARVED_SHARE or (share >= LEAST_SHARE and slow)


@dataclass
class ContentionWatch:
    """Warns once where several threads are hurt; asked now and then, it costs some file reads.

    warn: takes the line. num_threads: that compute; one thread waits for no other. processors: that
    this process may use.
    """

    num_threads: int
    processors: int
    warn: Callable[[str], object]
    clock: Callable[[], float] = time.perf_counter
    read: Callable[[], Times | None] = read_times
    _last: float | None = field(default=None, init=False)
    _begin: float = field(default=0.0, init=False)
    _before: Times | None = field(default=None, init=False)
    _steps: list[float] = field(default_factory=list, init=False)
    _fastest: float = field(default=float("inf"), init=False)
    _is_done: bool = field(default=False, init=False)

    def after(self, num_steps: int) -> None:
        """Note that so many steps were made since the last call."""
        if self.num_threads == 1 or self._is_done:
            return
        now = self.clock()
        if self._last is None:
            self._start(now)
            return

        self._steps.append((now - self._last) / num_steps)
        self._fastest, self._last = min(self._fastest, self._steps[-1]), now
        if now - self._begin >= LEAST_SECONDS and len(self._steps) >= LEAST_INTERVALS:
            self._judge()
            self._start(self.clock())

    def _start(self, now: float) -> None:
        self._begin = self._last = now
        self._before = self.read()
        self._steps.clear()
        self._is_done = self._is_done or self._before is None

    def _judge(self) -> None:
        after = self.read()
        if after is None or self._before is None:
            return
        seconds = self.clock() - self._begin
        share = share_lost(after.since(self._before), seconds, self.processors)
        if is_hurting(share, statistics.median(self._steps), self._fastest):
            self._is_done = True
            self.warn(sentence(self.num_threads, share))


def sentence(num_threads: int, share: float) -> str:
    """Return the warning: what was seen, and what to change."""
    return (
        f"other programs keep the processors busy: {num_threads} threads wait for one another, and "
        f"{share:.0%} of their time for a processor; runtime.num_threads=1 waits for no other"
    )
