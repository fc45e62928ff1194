"""Start and tear down the process group of a job that torchrun launched."""

import atexit
import contextlib
import datetime
import functools
import itertools
import os
import socket
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist

from cnnlab.distributed.failure_detector import FailureDetector
from cnnlab.distributed.meeting import Facts, meet, number_of, share_of_job, wait
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import Share
from cnnlab.errors import (
    CnnlabError,
    Interrupted,
    PeerLostError,
    ResourceError,
    ShownError,
    is_out_of_memory,
)
from cnnlab.safe_output import escape_control
from cnnlab.threads import leave_after

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 5.0
"""How long one attempt to reach the store may take."""

SHOW_SECONDS = 1.0
"""How long a process that stays silent leaves another one to show the same message."""

LEAVE_SECONDS = 5.0
"""How long the clean-up after a failure may take before the process ends anyway."""

_numbers = itertools.count()
"""Numbers the process groups of this process; all processes of a job start equally many."""


def is_launched() -> bool:
    """Return whether torchrun, or whatever sets the same variables, launched this process."""
    return all(name in os.environ for name in LAUNCHED)


def device_name(wanted: str) -> str:
    """Return the device of this process: of several on a machine each takes its own CUDA device.

    Raises ResourceError where there are more processes than devices.
    """
    if not is_launched() or wanted not in ("auto", "cuda") or not torch.cuda.is_available():
        return wanted
    local_rank, num_devices = number_of("LOCAL_RANK", 0, 1_000_000), torch.cuda.device_count()
    if local_rank >= num_devices:
        raise ResourceError(
            f"process {local_rank} of this machine has no CUDA device: there are {num_devices}",
            hint=f"torchrun --nproc-per-node={num_devices}, or runtime.device=cpu",
        )
    return f"cuda:{local_rank}"


@contextlib.contextmanager
def joined(
    device: torch.device, timeout_seconds: float, facts: Facts | None = None
) -> Iterator[Peers]:
    """Give the processes of this job inside the block; without torchrun, `ALONE`.

    An exception that leaves the block is reported to the others and, when they all raise the same,
    shown once: the rest raise ShownError. timeout_seconds: how long the processes wait for one
    another to join, and how long the job may make no progress later. facts: what each process was
    started with. Raises PeerLostError when another process is lost or never comes, UsageError, in
    all processes, when their facts differ.
    """
    if not is_launched():
        yield ALONE
        return

    share = share_of_job()
    detector, store = _reach_the_others(share, timeout_seconds)
    try:
        meet(detector.store, share, facts or {}, timeout_seconds)
        yield _connect(share, store, detector, device, timeout_seconds)
    except Interrupted:  # all processes agreed on it, and saved
        _tear_down(detector)
        raise
    except BaseException as error:
        detector.fail(error, cause_of(error))
        _tear_down_at_exit(int(getattr(error, "exit_code", 1)))
        if isinstance(error, CnnlabError) and not detector.claim(error.what):
            time.sleep(SHOW_SECONDS)  # the launcher ends all processes when the first is gone
            raise ShownError(error) from error
        raise
    _tear_down(detector)


def _tear_down(detector: FailureDetector) -> None:
    detector.stop()
    if dist.is_initialized():  # not where they were stopped before they had met
        dist.destroy_process_group()


def _tear_down_at_exit(code: int) -> None:
    """Destroy the group once the failure has been reported, within seconds even if that blocks.

    Its threads may still work on sums that no process waits for: torch aborts a Python that exits
    before they end. A peer that never joins these sums blocks them; then the process leaves anyway.
    """
    atexit.register(_destroy_group)
    leave_after(LEAVE_SECONDS, code)


def _destroy_group() -> None:
    with contextlib.suppress(Exception):  # a broken group is what the failure was about
        dist.destroy_process_group()


def _reach_the_others(share: Share, timeout_seconds: float) -> tuple[FailureDetector, dist.Store]:
    """Return the failure detector, not started yet, and the store of this process group."""
    limit = _late(timeout_seconds)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    whole = _store(share, timeout_seconds)
    whole.set_timeout(limit)
    store = dist.PrefixStore(f"cnnlab/{attempt}/{next(_numbers)}", whole)
    host = None if _launcher_hosts() else 0
    return FailureDetector(store, share, timeout_seconds, host), store


def _connect(
    share: Share,
    store: dist.Store,
    detector: FailureDetector,
    device: torch.device,
    timeout_seconds: float,
) -> Peers:
    """Start the process group of processes that have met, watched from here on."""
    if _is_one_machine():
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")  # nothing listens to the network

    limit, on_cuda = _late(timeout_seconds), device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(device)
    detector.start()
    dist.init_process_group(
        "nccl" if on_cuda else "gloo",
        store=store,
        rank=share.rank,
        world_size=share.size,
        timeout=limit,
    )
    control = dist.new_group(backend="gloo", timeout=limit) if on_cuda else None
    return Peers(share, control, detector)


def _late(timeout_seconds: float) -> datetime.timedelta:
    """Return torch's own limit: the detector comes first, which names the one that is missing."""
    return datetime.timedelta(seconds=timeout_seconds + 3600)


def _is_one_machine() -> bool:
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


def _launcher_hosts() -> bool:
    """Return whether torchrun holds the store in which the processes meet; else rank 0 does."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store(share: Share, timeout_seconds: float) -> dist.Store:
    port = number_of("MASTER_PORT", 1, 65535)
    if share.rank == 0 and not _launcher_hosts():
        return _own_store(port, share.size)
    is_near = _is_one_machine() and not _launcher_hosts()
    return _store_of_another(
        LOOPBACK if is_near else os.environ["MASTER_ADDR"], port, timeout_seconds
    )


@functools.cache
def _own_store(port: int, size: int) -> dist.Store:
    """Return a store that this process holds until it ends.

    Where all processes are on this machine, only this machine reaches it. Raises ResourceError for
    a port that is taken.
    """
    try:
        listening = _listening(port)
    except OSError as error:
        raise ResourceError(
            f"cannot listen on MASTER_PORT={port}: {error.strerror}",
            hint="another job, or a second RANK=0, has this port: choose another for all processes",
        ) from error
    return dist.TCPStore(
        LOOPBACK,
        port,
        world_size=size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )


def _listening(port: int) -> socket.socket:
    if _is_one_machine():
        return socket.create_server((LOOPBACK, port))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _store_of_another(host: str, port: int, timeout_seconds: float) -> dist.Store:
    """Return the store that rank 0 or the launcher holds. Raises PeerLostError for none in time."""
    until = time.monotonic() + timeout_seconds
    reason = "nobody answers"

    def unreachable() -> PeerLostError:
        return PeerLostError(
            f"the job's store was not reached within {timeout_seconds:g} s: {reason}",
            escape_control(f"MASTER_ADDR={host}, MASTER_PORT={port}"),
            "check both, and whether the process with RANK=0 was started",
        )

    while True:
        try:
            socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
            return dist.TCPStore(
                host,
                port,
                is_master=False,
                timeout=datetime.timedelta(seconds=ANSWER_SECONDS),
                wait_for_workers=False,
            )
        except (OSError, UnicodeError, dist.DistError) as error:  # UnicodeError: no name of a host
            reason = cause_of(error)
        wait(until, unreachable)


def cause_of(error: BaseException) -> str:
    """Return in one line why a process fails."""
    message = escape_control((str(error).splitlines() or [""])[0])
    if is_out_of_memory(error):
        return f"out of memory{': ' if message else ''}{message}"
    if isinstance(error, CnnlabError | KeyboardInterrupt):
        return message or type(error).__name__
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
