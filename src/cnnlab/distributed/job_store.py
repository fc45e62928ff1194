"""The launcher's store, in which the processes of a job leave messages for one another."""

import json
import os
import socket
from typing import Any


class JobStore:
    """One thread's client of the store. Once the store is gone, methods raise RuntimeError.

    Keys: who/RANK is host and pid, beat/RANK the last heartbeat, ended/RANK "done" or the cause
    of a failure, told/MESSAGE counts who came to show a message; those of `meeting`.
    """

    def __init__(self, client: Any, identities: dict[int, tuple[str, int]] | None = None) -> None:
        self._client = client
        self._identities = {} if identities is None else identities

    def clone(self) -> "JobStore":
        """Return a client for another thread, which knows the same identities."""
        return JobStore(self._client.clone(), self._identities)

    def write(self, key: str, value: str) -> None:
        """Set a key for all processes."""
        self._client.set(key, value)

    def read(self, key: str) -> str | None:
        """Return what a process wrote, None where it has not; does not wait for it."""
        return str(self._client.get(key).decode()) if self._client.check([key]) else None

    def count(self, key: str) -> int:
        """Count one more under `key`; return how many there are now."""
        return int(self._client.add(key, 1))

    def claim(self, message: str) -> bool:
        """Return whether this process is the first to show `message`; True without a store."""
        try:
            return bool(self._client.add(f"told/{message}", 1) == 1)
        except RuntimeError:
            return True

    def introduce(self, rank: int) -> None:
        """Write host and pid of this process."""
        identity = json.dumps([socket.gethostname(), os.getpid()], allow_nan=False)
        self.write(f"who/{rank}", identity)

    def identity(self, rank: int) -> tuple[str, int]:
        """Return host and pid of a process, kept for when the store is gone; unknown: ("?", 0)."""
        if rank not in self._identities:
            try:
                host, pid = json.loads(self.read(f"who/{rank}") or "")
            except (RuntimeError, ValueError):
                return "?", 0
            self._identities[rank] = (host, pid)
        return self._identities[rank]
