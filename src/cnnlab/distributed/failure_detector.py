"""Failure detector: heartbeats in the launcher's store.

A broken connection is noticed by the collective operation itself; why the process at its other end
failed is then read in the store, which outlives the processes, or in error.json where the store was
held by the process that failed. The thread here notices frozen processes, and those that live but
never enter the collective that the others wait in.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cnnlab import system
from cnnlab.distributed.error_file import ErrorFile, Record
from cnnlab.distributed.heartbeats import Heartbeats
from cnnlab.distributed.job_store import JobStore
from cnnlab.distributed.share import Share
from cnnlab.errors import PeerLostError
from cnnlab.safe_output import command_line, escape_control, say
from cnnlab.threads import BackgroundThread

BEAT_SECONDS = 0.5
LONGEST_BEAT_SECONDS = 2.0
"""What one beat counts at most: if it took longer, the store or this process stood still."""

DEAD_AFTER_SECONDS = 10.0
SETTLE_SECONDS = 2.0
"""How long to wait for the report of a lost process before it counts as unreachable."""

SAME_FAILURE_SECONDS = 4.0
"""How long a failing process waits for the others: if all end too, it has not been lost to them."""

JOIN_SECONDS = 10.0
"""How long a process at its end waits for the store's answer to its last heartbeat."""

DONE = "done"
"""How a process ends that did not fail."""

LAUNCHER = -1
"""The rank of the launcher, where it is the cause."""


class FailureDetector:
    """Sends this process's heartbeat; ends the process when another is dead or the job stalls.

    store: for this thread. timeout_seconds: how long no process may make progress. host: the
    rank that holds the store, None for the launcher.
    """

    def __init__(
        self, store: Any, share: Share, timeout_seconds: float, host: int | None = None
    ) -> None:
        self.store = self._store = JobStore(store)
        self._thread_store = self._store.clone()
        self._rank, self._size, self._host = share.rank, share.size, host
        self._timeout_seconds = timeout_seconds
        self._num_collectives = self._num_notes = 0
        self._error_file: ErrorFile | None = None
        self._stopping = threading.Event()
        self._end: Callable[[], None] = self._stopping.set
        self._store.introduce(self._rank)

    def start(self) -> None:
        """Send and read heartbeats in a thread, until `stop` or `fail`."""
        self._end = BackgroundThread(
            self._run, "failure detector", self._stopping.set, JOIN_SECONDS
        ).end

    def enter(self) -> None:
        """Note that this process enters one more collective."""
        self._num_collectives += 1

    def note_progress(self) -> None:
        """Note that this process works, where it enters no collective for long."""
        self._num_notes += 1

    def report_to(self, folder: str, record: Record) -> None:
        """Write error.json into this folder and call `record`, in the first process that notices.

        An old error.json is of an earlier attempt.
        """
        self._error_file = ErrorFile(Path(folder), record)
        if self._rank == 0:
            self._error_file.remove()

    def stop(self) -> None:
        """Report that this process ends without a failure."""
        self._report_end(DONE)
        self._end()

    def fail(self, error: BaseException, cause: str) -> None:
        """Report why this process ends: to the others, in error.json, and shown unless all end."""
        self._stopping.set()
        is_cause = not isinstance(error, PeerLostError)
        self._report_end(cause if is_cause else DONE)

        if is_cause and not isinstance(error, KeyboardInterrupt):
            self._write(self._rank, cause, f"process {self._rank} of {self._size}: {cause}")
            if not self._others_end():
                lost = self._describe(self._rank, cause, self._store)
                if self.claim(lost.what):
                    say(str(lost))
        self._end()

    def claim(self, message: str) -> bool:
        """Return whether this process is the first to show `message`."""
        return self._store.claim(message)

    def lost(self, error: Exception) -> PeerLostError:
        """Return which process was lost: one that reported why it failed, else one that is gone."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            try:
                found = self._find_lost()
            except RuntimeError:
                return self._without_store(self._store)
            if found is not None:
                return self._describe(*found, self._store)
            time.sleep(0.05)

        first_line = (str(error).splitlines() or [""])[0]
        return PeerLostError("the other processes cannot be reached", escape_control(first_line))

    def _find_lost(self) -> tuple[int, str] | None:
        for rank in self._others():
            cause = self._ended(rank)
            if cause is None and _is_gone(*self._store.identity(rank)):
                cause = "killed"
            if cause not in (None, DONE):
                return rank, str(cause)
        return None

    def _run(self) -> None:
        store, ranks = self._thread_store, range(self._size)
        now = reached = looked = time.monotonic()
        heartbeats = Heartbeats(self._size, now)  # all have met: each is to beat soon

        while not self._stopping.wait(BEAT_SECONDS):
            # time in which the store or this process stood still is no other's silence
            now += min(time.monotonic() - looked, LONGEST_BEAT_SECONDS)
            looked = time.monotonic()

            try:
                heartbeat = f"{now} {self._num_collectives} {self._num_notes}"
                store.write(f"beat/{self._rank}", heartbeat)
                found = [store.read(f"beat/{rank}") for rank in ranks]
                ended = [store.read(f"ended/{rank}") for rank in ranks]
                for rank in ranks:
                    store.identity(rank)  # kept for when the store is gone
            except Exception:
                self._leave_if_orphaned(now - reached)
                continue

            reached = now
            heartbeats.update(found, now)
            self._check(heartbeats, ended, now)

    def _check(self, heartbeats: Heartbeats, ended: Sequence[str | None], now: float) -> None:
        """End this process when another one is silent or the job makes no progress."""
        for rank in heartbeats.silent(now, DEAD_AFTER_SECONDS):
            if ended[rank] is None:
                self._leave(rank, f"silent for {DEAD_AFTER_SECONDS:g} s")

        if DONE in ended:  # a process has ended: no collective will follow
            heartbeats.note_progress(now)
        stalled = heartbeats.stalled(now, self._timeout_seconds)
        if stalled is not None:
            self._leave(stalled, f"no progress for {self._timeout_seconds:g} s")

    def _others_end(self) -> bool:
        """Return whether all other processes end as well, within some seconds."""
        until = time.monotonic() + SAME_FAILURE_SECONDS
        with contextlib.suppress(RuntimeError):  # the store is gone with its holder
            while time.monotonic() < until:
                if all(self._ended(rank) for rank in self._others()):
                    return True
                time.sleep(0.05)
        return False

    def _leave(self, rank: int, cause: str) -> None:
        """End this process: its main thread waits in a collective that will never be complete.

        The process that is missing is killed if it is on this machine: a frozen one does not react
        to anything else.
        """
        time.sleep(0.2 * self._rank)  # so that one process shows the message
        if self._thread_store.claim(f"lost {rank}"):
            say(str(self._describe(rank, cause, self._thread_store)))
            host, pid = self._thread_store.identity(rank)
            if rank != self._rank and host == socket.gethostname():
                with contextlib.suppress(OSError):
                    os.kill(pid, system.KILL)
        os._exit(PeerLostError.exit_code)

    def _leave_if_orphaned(self, seconds: float) -> None:
        """End this process when nobody is left who would end it with the others."""
        if seconds > DEAD_AFTER_SECONDS:
            say(str(self._without_store(self._thread_store)))
            os._exit(PeerLostError.exit_code)

    def _without_store(self, store: JobStore) -> PeerLostError:
        """Return the error of a store that is gone with its holder."""
        if self._host is not None:
            written = self._error_file.read() if self._error_file else None
            return self._describe(*(written or (self._host, "killed")), store)

        what = "the launcher of this job (torchrun) is gone"
        self._write(LAUNCHER, "gone", what)
        return PeerLostError(what, hint=self._hint())

    def _describe(self, rank: int, cause: str, store: JobStore) -> PeerLostError:
        host, pid = store.identity(rank)
        what = f"process {rank} of {self._size} was lost: {cause}"
        self._write(rank, cause, what)
        return PeerLostError(what, f"pid {pid} on {host}", self._hint())

    def _hint(self) -> str:
        run = self._error_file.folder if self._error_file else "latest"
        command = command_line("cnnlab", "train", f"resume={run}")
        return f"continue from the last checkpoint: {command}"

    def _write(self, rank: int, cause: str, message: str) -> None:
        if self._error_file is not None:
            facts = {"rank": rank, "size": self._size, "cause": cause, "told_by_rank": self._rank}
            self._error_file.write(facts, message)

    def _report_end(self, how: str) -> None:
        with contextlib.suppress(RuntimeError):  # without the store nobody reads it
            self._store.write(f"ended/{self._rank}", how)

    def _ended(self, rank: int) -> str | None:
        return self._store.read(f"ended/{rank}")

    def _others(self) -> list[int]:
        return [rank for rank in range(self._size) if rank != self._rank]


def _is_gone(host: str, pid: int) -> bool:
    """Return whether a process of this very machine has ended."""
    return host == socket.gethostname() and system.is_gone(pid)
