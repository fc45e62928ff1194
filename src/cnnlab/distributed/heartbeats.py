"""Heartbeats as they were read: who is silent, and whether the job makes progress. No clock."""

from collections.abc import Sequence


class Heartbeats:
    """When each rank's heartbeat, and the job as a whole, last changed.

    A heartbeat is "TIME COLLECTIVES NOTES": it changes while its process runs, the two counts
    while it makes progress.
    """

    def __init__(self, size: int, now: float) -> None:
        self._last = [""] * size
        self._changed = [now] * size
        self._counts: list[list[str]] = []
        self._progressed = now

    def update(self, heartbeats: Sequence[str | None], now: float) -> None:
        """Compare the heartbeats of all ranks with those of the last update."""
        for rank, heartbeat in enumerate(heartbeats):
            if heartbeat is not None and heartbeat != self._last[rank]:
                self._last[rank], self._changed[rank] = heartbeat, now

        counts = [(heartbeat or "0 0 0").split()[1:] for heartbeat in heartbeats]
        if counts != self._counts:
            self.note_progress(now)
        self._counts = counts

    def note_progress(self, now: float) -> None:
        """Count the time without progress from now on."""
        self._progressed = now

    def silent(self, now: float, seconds: float) -> list[int]:
        """Return the ranks whose heartbeat has not changed for more than `seconds`."""
        return [rank for rank, changed in enumerate(self._changed) if now - changed > seconds]

    def stalled(self, now: float, seconds: float) -> int | None:
        """Return the rank with the fewest collectives after `seconds` without any progress."""
        if now - self._progressed <= seconds:
            return None
        entered = [int(count[0]) for count in self._counts]
        return entered.index(min(entered))
