"""Who fell silent: each process beats in the store of the launcher, and looks at the others' beats.

The store outlives the processes, so what a failing one said can be read after it is gone; where the
first process holds it, that one's word is read in error.json. A broken connection is noticed by the
exchange itself; this thread notices frozen processes, those that say they fail, and those that live
but never come to the exchange that the others wait in.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnlab.distributed.share import Share
from cnnlab.errors import CnnlabError, PeerLostError
from cnnlab.plain_json import json_text
from cnnlab.printable import command_line, printable, say
from cnnlab.threads import Beside

BEAT_SECONDS = 0.5
LOOK_SECONDS = 2.0
"""As how long a look counts at most: if it took longer, the store or this process stood still."""

DEAD_AFTER_SECONDS = 10.0
SETTLE_SECONDS = 2.0
"""How long a failing process is given to say why before its silence is the cause."""

ECHO_SECONDS = 4.0
"""How long a failing process waits for another to say so: the launcher ends all when it goes."""

JOIN_SECONDS = 10.0
"""How long a process at its end waits for the store's answer to its last beat."""

DONE = "done"
LAUNCHER = -1
"""The rank of what started the processes, where it is to blame."""

Record = Callable[[str], None]
"""Takes what happened, in words: writes it down where the run keeps its status."""


class Watch:
    """Beats for this process; ends it when another one is dead or the job stands still.

    store: a client of its own. timeout_seconds: how long no process may make progress. host: the
    process that holds the store, None for the launcher.
    """

    def __init__(
        self, store: Any, share: Share, timeout_seconds: float, host: int | None = None
    ) -> None:
        self._store, self._own_store, self._host = store, store.clone(), host
        self._rank, self._size, self._timeout_seconds = share.rank, share.size, timeout_seconds
        self._num_entered = self._num_notes = 0
        self._people: dict[int, tuple[str, int]] = {}
        self._failed: set[int] = set()
        self._folder: Path | None = None
        self._record: Record = lambda message: None
        self._stopping = threading.Event()
        self._end: Callable[[], None] = self._stopping.set
        who = json.dumps([socket.gethostname(), os.getpid()], allow_nan=False)
        self._store.set(f"who/{self._rank}", who)

    def start(self) -> None:
        """Beat and look from now on, in a thread, until told how this process ends."""
        self._end = Beside(self._beat, "watch", self._stopping.set, JOIN_SECONDS).end

    def enter(self) -> None:
        """Note that this process takes part in one more exchange."""
        self._num_entered += 1

    def note_progress(self) -> None:
        """Note that this process works, where it enters no exchange for long."""
        self._num_notes += 1

    def report_to(self, folder: str, record: Record) -> None:
        """Write error.json into this folder and call `record`, in one process of those that notice.

        An old error.json is of an earlier attempt.
        """
        self._folder, self._record = Path(folder), record
        if self._rank == 0:
            (self._folder / "error.json").unlink(missing_ok=True)

    def stop(self) -> None:
        """Say that this process ends as it should."""
        self._tell(DONE)
        self._end()

    def fail(self, error: BaseException, cause: str) -> None:
        """Say why this process ends, to the others and in error.json; one of them shows it."""
        self._stopping.set()
        is_cause = not isinstance(error, PeerLostError)
        self._tell(cause if is_cause else DONE)
        if is_cause and not isinstance(error, KeyboardInterrupt):
            self._write(self._rank, cause, f"process {self._rank} of {self._size}: {cause}")
            self._wait_for_echo(cause)
        self._end()

    def _wait_for_echo(self, cause: str) -> None:
        """Wait until another process has told of this failure, or all others ended as well."""
        told, until = f"told/{self._what(self._rank, cause)}", time.monotonic() + ECHO_SECONDS
        with contextlib.suppress(RuntimeError):  # the store went with its holder
            while time.monotonic() < until and not self._store.check([told]):
                if all(self._read(f"ended/{rank}") for rank in self._others()):
                    break
                time.sleep(0.05)

    def is_told(self, message: str) -> bool:
        """Say whether another process has shown this very message already."""
        return not _is_first(self._store, f"told/{message}")

    def lost(self, error: Exception) -> PeerLostError:
        """Return who was lost: a process that said why it failed, else one that is gone."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            try:
                found = self._find_lost()
            except RuntimeError:
                return self._without_store()
            if found is not None:
                return self._blame(*found)
            time.sleep(0.05)
        first_line = (str(error).splitlines() or [""])[0]
        return PeerLostError("the other processes cannot be reached", printable(first_line))

    def _find_lost(self) -> tuple[int, str] | None:
        for rank in self._others():
            cause = self._read(f"ended/{rank}")
            if cause is None and self._is_gone(rank):
                cause = "killed"
            if cause not in (None, DONE):
                return rank, str(cause)
        return None

    def _beat(self) -> None:
        now = reached = looked = time.monotonic()
        seen = dict.fromkeys(range(self._size), ("", now))  # all have met: each is to beat soon
        moved: tuple[list[list[str]], float] = ([], now)
        while not self._stopping.wait(BEAT_SECONDS):
            now += min(time.monotonic() - looked, LOOK_SECONDS)
            looked = time.monotonic()
            try:
                beat = f"{now} {self._num_entered} {self._num_notes}"
                self._own_store.set(f"beat/{self._rank}", beat)
                beats = {rank: self._own_read(f"beat/{rank}") for rank in range(self._size)}
                ended = [self._own_read(f"ended/{rank}") for rank in range(self._size)]
                for rank in beats:
                    self._who(rank, self._own_read)  # kept for when the store is gone
            except Exception:
                self._leave_if_orphaned(now - reached)
                continue
            reached = now
            for rank, beat_read in beats.items():
                if beat_read is not None and seen[rank][0] != beat_read:
                    seen[rank] = (beat_read, now)
            self._echo(ended)
            for rank, (_, since) in seen.items():
                if now - since > DEAD_AFTER_SECONDS and ended[rank] is None:
                    self._leave(rank, f"silent for {DEAD_AFTER_SECONDS:g} s")
            counts = [(beat_read or "0 0 0").split()[1:] for beat_read in beats.values()]
            if counts != moved[0] or DONE in ended:  # one at its end: no exchange is to come
                moved = (counts, now)
            elif now - moved[1] > self._timeout_seconds:
                entered = [int(count[0]) for count in counts]
                cause = f"no progress for {self._timeout_seconds:g} s"
                self._leave(entered.index(min(entered)), cause)

    def _echo(self, ended: list[str | None]) -> None:
        """Tell of a process that failed while this one did not: known for two beats, and once.

        The main thread ends with the same message as soon as its exchange breaks.
        """
        failed = {rank: cause for rank, cause in enumerate(ended) if cause not in (None, DONE)}
        for rank in self._failed & failed.keys():
            lost = self._blame(rank, str(failed[rank]), self._own_read)
            if _is_first(self._own_store, f"told/{lost.what}"):
                say(str(lost))
        self._failed = set(failed)

    def _leave_if_orphaned(self, seconds: float) -> None:
        """End this process when nobody is left who would end it with the others."""
        if seconds > DEAD_AFTER_SECONDS:
            say(str(self._without_store()))
            os._exit(PeerLostError.exit_code)

    def _without_store(self) -> PeerLostError:
        """Say that the store went with whoever held it."""
        if self._host is not None:
            return self._blame(*(self._written() or (self._host, "killed")))
        what = "what started the processes of this job is gone (torchrun)"
        self._write(LAUNCHER, "gone", what)
        return PeerLostError(what, hint=self._go_on())

    def _written(self) -> tuple[int, str] | None:
        """Return which process failed and why, as error.json says."""
        if self._folder is None:
            return None
        try:
            facts = json.loads((self._folder / "error.json").read_bytes())
            return int(facts["rank"]), str(facts["cause"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _leave(self, rank: int, cause: str) -> None:
        """End this process: its main thread waits in an exchange that will never be complete.

        The one that is missing is killed if it is on this machine: frozen, it hears nothing else.
        """
        time.sleep(0.2 * self._rank)  # one speaks first
        if _is_first(self._own_store, f"told/lost {rank}"):
            say(str(self._blame(rank, cause, self._own_read)))
            host, pid = self._who(rank, self._own_read)
            if rank != self._rank and host == socket.gethostname():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        os._exit(PeerLostError.exit_code)

    def _blame(self, rank: int, cause: str, read: Any = None) -> PeerLostError:
        host, pid = self._who(rank, read or self._read)
        what = self._what(rank, cause)
        self._write(rank, cause, what)
        return PeerLostError(what, f"pid {pid} on {host}", self._go_on())

    def _what(self, rank: int, cause: str) -> str:
        return f"process {rank} of {self._size} was lost: {cause}"

    def _go_on(self) -> str:
        where = self._folder or "latest"
        command = command_line("cnnlab", "train", f"resume={where}")
        return f"go on from the last checkpoint: {command}"

    def _write(self, rank: int, cause: str, message: str) -> None:
        """Make error.json and record the failure, unless somebody was faster."""
        if self._folder is None:
            return
        facts = {"rank": rank, "size": self._size, "cause": cause, "told_by_rank": self._rank}
        try:
            with open(self._folder / "error.json", "x", encoding="utf-8") as file:
                file.write(json_text(facts | {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}))
        except OSError:
            return
        with contextlib.suppress(CnnlabError, OSError):
            self._record(message)

    def _tell(self, how: str) -> None:
        """Tell the others how this process ended; without the launcher's store nobody listens."""
        with contextlib.suppress(RuntimeError):
            self._store.set(f"ended/{self._rank}", how)

    def _others(self) -> list[int]:
        return [rank for rank in range(self._size) if rank != self._rank]

    def _who(self, rank: int, read: Callable[[str], str | None]) -> tuple[str, int]:
        """Return host and pid of a process, as it said itself."""
        if rank not in self._people:
            try:
                host, pid = json.loads(read(f"who/{rank}") or "")
            except (RuntimeError, ValueError):
                return "?", 0
            self._people[rank] = (host, pid)
        return self._people[rank]

    def _is_gone(self, rank: int) -> bool:
        """Say whether a process of this very machine is no more."""
        host, pid = self._who(rank, self._read)
        if host != socket.gethostname():
            return False
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except ProcessLookupError:
            return True
        except OSError:
            return False  # not ours to ask, or a system without /proc

    def _read(self, key: str) -> str | None:
        return str(self._store.get(key).decode()) if self._store.check([key]) else None

    def _own_read(self, key: str) -> str | None:
        return str(self._own_store.get(key).decode()) if self._own_store.check([key]) else None


def _is_first(store: Any, key: str) -> bool:
    """Say whether no other process came here before; without a store each is the first."""
    try:
        return bool(store.add(key, 1) == 1)
    except RuntimeError:
        return True
