"""Who fell silent: each process beats in the store of the launcher, and looks at the others' beats.

The store outlives the processes, so what a failing one said can be read after it is gone. A broken
connection is noticed by the exchange itself; this thread notices frozen processes, and those that
live but never come to the exchange that the others wait in.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cnnlab.errors import CnnlabError, PeerLostError
from cnnlab.printable import printable

BEAT_SECONDS = 0.5
DEAD_AFTER_SECONDS = 10.0
SETTLE_SECONDS = 2.0
"""How long a failing process is given to say why before its silence is the cause."""


DONE = "done"


class Watch(threading.Thread):
    """Beats for this process; ends it when another one is dead or the job stands still.

    store: a client of its own. timeout_seconds: how long no process may enter an exchange.
    """

    def __init__(self, store: Any, rank: int, size: int, timeout_seconds: float) -> None:
        super().__init__(name="watch", daemon=True)
        self._store, self._own_store = store, store.clone()
        self._rank, self._size, self._timeout_seconds = rank, size, timeout_seconds
        self._num_entered = 0
        self._folder: Path | None = None
        self._stopping = threading.Event()
        self._store.set(f"who/{rank}", json.dumps([socket.gethostname(), os.getpid()]))

    def enter(self) -> None:
        """Note that this process takes part in one more exchange."""
        self._num_entered += 1

    def report_to(self, folder: str) -> None:
        """Write error.json into this folder; an old one is of an earlier attempt."""
        self._folder = Path(folder)
        if self._rank == 0:
            (self._folder / "error.json").unlink(missing_ok=True)

    def stop(self) -> None:
        """Say that this process ends as it should."""
        self._stopping.set()
        self._store.set(f"ended/{self._rank}", DONE)

    def fail(self, error: BaseException) -> None:
        """Say why this process ends, for the others and in error.json."""
        self._stopping.set()
        if isinstance(error, PeerLostError):
            self._store.set(f"ended/{self._rank}", DONE)  # somebody else is the cause
            return
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not isinstance(error, CnnlabError | KeyboardInterrupt):
            cause = f"{type(error).__name__}: {cause}"
        self._store.set(f"ended/{self._rank}", cause)
        if not isinstance(error, KeyboardInterrupt):
            self._write(self._rank, cause)

    def is_told(self, message: str) -> bool:
        """Say whether another process has shown this very message already."""
        return bool(self._store.add(f"told/{message}", 1) > 1)

    def lost(self, error: Exception) -> PeerLostError:
        """Return who was lost: a process that said why it failed, else one that is gone."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            for rank in self._others():
                cause = self._read(f"ended/{rank}")
                if cause is None and self._is_gone(rank):
                    cause = "killed"
                if cause not in (None, DONE):
                    return self._blame(rank, str(cause))
            time.sleep(0.05)
        first_line = (str(error).splitlines() or [""])[0]
        return PeerLostError("the other processes cannot be reached", printable(first_line))

    def run(self) -> None:
        """Beat and look until told to stop."""
        seen: dict[int, tuple[str, float]] = {}
        moved: tuple[list[int], float] = ([], time.monotonic())
        while not self._stopping.wait(BEAT_SECONDS):
            try:
                now = time.monotonic()
                self._own_store.set(f"beat/{self._rank}", f"{now} {self._num_entered}")
                beats = {rank: self._look(rank) for rank in range(self._size)}
            except Exception:
                continue  # the launcher's store is gone: the exchanges will fail by themselves
            for rank, beat in beats.items():
                if beat is not None and seen.get(rank, ("", 0.0))[0] != beat:
                    seen[rank] = (beat, now)
            self._leave_if_dead(seen, now)
            counts = [int(beat.split()[1]) if beat else 0 for beat in beats.values()]
            if counts != moved[0]:
                moved = (counts, now)
            elif now - moved[1] > self._timeout_seconds:
                rank = counts.index(min(counts))
                self._leave(rank, f"no progress for {self._timeout_seconds:g} s")

    def _leave_if_dead(self, seen: dict[int, tuple[str, float]], now: float) -> None:
        for rank, (_, since) in seen.items():
            if now - since > DEAD_AFTER_SECONDS and self._own_read(f"ended/{rank}") is None:
                self._leave(rank, f"silent for {DEAD_AFTER_SECONDS:g} s")

    def _leave(self, rank: int, cause: str) -> None:
        """End this process: its main thread waits in an exchange that will never be complete."""
        time.sleep(0.2 * self._rank)  # one speaks first
        if self._own_store.add(f"told/lost {rank}", 1) == 1:
            message = self._blame(rank, cause, self._own_read)
            sys.stderr.write(f"cnnlab: {message}\n")
            sys.stderr.flush()
        os._exit(PeerLostError.exit_code)

    def _blame(self, rank: int, cause: str, read: Any = None) -> PeerLostError:
        host, pid = json.loads((read or self._read)(f"who/{rank}") or '["?", 0]')
        self._write(rank, cause)
        return PeerLostError(
            f"process {rank} of {self._size} was lost: {cause}",
            f"pid {pid} on {host}",
            "go on from the last checkpoint: cnnlab train resume=" + str(self._folder or "latest"),
        )

    def _write(self, rank: int, cause: str) -> None:
        """Make error.json, unless somebody was faster."""
        if self._folder is None:
            return
        facts = {"rank": rank, "size": self._size, "cause": cause, "told_by_rank": self._rank}
        with (
            contextlib.suppress(OSError),
            open(self._folder / "error.json", "x", encoding="utf-8") as file,
        ):
            json.dump(facts | {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}, file, indent=2)

    def _others(self) -> list[int]:
        return [rank for rank in range(self._size) if rank != self._rank]

    def _is_gone(self, rank: int) -> bool:
        """Say whether a process of this very machine is no more."""
        host, pid = json.loads(self._read(f"who/{rank}") or '["", 0]')
        if host != socket.gethostname():
            return False
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except ProcessLookupError:
            return True
        except OSError:
            return False  # not ours to ask, or a system without /proc

    def _look(self, rank: int) -> str | None:
        return self._own_read(f"beat/{rank}")

    def _read(self, key: str) -> str | None:
        return str(self._store.get(key).decode()) if self._store.check([key]) else None

    def _own_read(self, key: str) -> str | None:
        return str(self._own_store.get(key).decode()) if self._own_store.check([key]) else None
