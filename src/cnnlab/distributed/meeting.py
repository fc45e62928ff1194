"""The processes of a job meet in its store, and go on only if they were started alike.

Each writes what it was started with: settings, versions, number of processes. All read what all
have written; whoever finds a difference leaves a refusal, which ends every process alike. A process
that does not come is named after a limit of our own.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from cnnlab import interrupts
from cnnlab.distributed.job_store import JobStore
from cnnlab.distributed.share import Share
from cnnlab.errors import Interrupted, PeerLostError, UsageError
from cnnlab.safe_output import escape_control

POLL_SECONDS = 0.05
NUM_SHOWN = 5
MOST_SHOWN = 60
"""Differing keys, and characters of a value, that the message shows."""

ALIKE = "start every process with the same command, from the same installation"
Facts = Mapping[str, Any]


def number_of(variable: str, low: int, high: int) -> int:
    """Return what an environment variable of the launcher says. Raises UsageError."""
    text = os.environ[variable]
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    raise UsageError(
        f"{variable} must be an integer from {low} to {high}, got {text!r}",
        hint="torchrun sets it; a script that sets it itself: docs/devices.md",
    )


def share_of_job() -> Share:
    """Return rank and size as the launcher gave them. Raises UsageError for impossible ones."""
    size = number_of("WORLD_SIZE", 1, 1_000_000)
    return Share(number_of("RANK", 0, size - 1), size)


def meet(store: JobStore, share: Share, facts: Facts, timeout_seconds: float) -> None:
    """Wait until every process is here with the same facts: plain data by key.

    Raises UsageError, in all processes, for facts that differ and for two processes of one rank;
    PeerLostError for a process that does not come in time; Interrupted for a request to stop.
    """
    written = json.dumps({**facts, "WORLD_SIZE": share.size}, allow_nan=False)
    if store.count(f"present/{share.rank}") > 1:
        _refuse(store, f"two processes of this job have RANK={share.rank}", "")
    store.write(f"facts/{share.rank}", written)

    until, found = time.monotonic() + timeout_seconds, {share.rank: json.loads(written)}
    while len(found) < share.size:
        _raise_if_refused(store)
        for rank in range(share.size):
            if rank not in found and (text := store.read(f"facts/{rank}")) is not None:
                found[rank] = json.loads(text)
        check_alike(found, store)
        wait(until, lambda: _missing(share, found, timeout_seconds))
    _raise_if_refused(store)


def wait(until: float, too_late: Any) -> None:
    """Sleep a little; raise what `too_late` returns after `until`, Interrupted when asked to."""
    if (number := interrupts.requested()) is not None:
        raise Interrupted(interrupts.exit_code(number), "stopped before all processes had met")
    if time.monotonic() > until:
        raise too_late()
    time.sleep(POLL_SECONDS)


def check_alike(found: Mapping[int, Facts], store: JobStore | None = None) -> None:
    """Raise UsageError with the keys in which a process differs from the lowest rank of `found`.

    store: where the other processes find the refusal, if they have not seen the same facts.
    """
    first, *others = sorted(found)
    for rank in others:
        ours, theirs = found[first], found[rank]
        keys = [k for k in dict.fromkeys([*ours, *theirs]) if ours.get(k) != theirs.get(k)]
        if not keys:
            continue
        shown = [
            f"{k}: {_shown(ours, k)} in process {first}, {_shown(theirs, k)} in process {rank}"
            for k in keys[:NUM_SHOWN]
        ]
        more = [f"and {len(keys) - NUM_SHOWN} more"] if len(keys) > NUM_SHOWN else []
        what = f"the processes of this job differ in {', '.join(keys[:NUM_SHOWN])}"
        _refuse(store, what, "; ".join([*shown, *more]))


def _shown(facts: Facts, key: str) -> str:
    return escape_control(str(facts.get(key, "nothing")))[:MOST_SHOWN]


def _refuse(store: JobStore | None, what: str, where: str) -> None:
    if store is not None:
        with contextlib.suppress(RuntimeError):  # its holder has refused already
            store.write("refused", json.dumps([what, where], allow_nan=False))
    raise UsageError(escape_control(what), where, ALIKE)


def _raise_if_refused(store: JobStore) -> None:
    if (text := store.read("refused")) is not None:
        what, where = json.loads(text)
        raise UsageError(what, where, ALIKE)


def _missing(share: Share, found: Mapping[int, Facts], seconds: float) -> PeerLostError:
    ranks = [rank for rank in range(share.size) if rank not in found]
    named = ", ".join(map(str, ranks[:NUM_SHOWN])) + (" ..." if len(ranks) > NUM_SHOWN else "")
    return PeerLostError(
        f"{len(ranks)} of {share.size} processes did not come within {seconds:g} s: {named}",
        f"WORLD_SIZE={share.size}, this is RANK={share.rank}",
        "start as many processes as WORLD_SIZE says, each with a RANK of its own",
    )
