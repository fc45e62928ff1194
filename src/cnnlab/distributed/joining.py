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
from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import Share
from cnnlab.errors import (
    CnnlabError,
    Interrupted,
    ResourceError,
    ShownError,
    is_out_of_memory,
)
from cnnlab.safe_output import escape_control
from cnnlab.threads import leave_after

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LOOPBACK = "127.0.0.1"
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
    local_rank, num_devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local_rank >= num_devices:
        raise ResourceError(
            f"process {local_rank} of this machine has no CUDA device: there are {num_devices}",
            hint=f"torchrun --nproc-per-node={num_devices}, or runtime.device=cpu",
        )
    return f"cuda:{local_rank}"


@contextlib.contextmanager
def joined(device: torch.device, timeout_seconds: float) -> Iterator[Peers]:
    """Give the processes of this job inside the block; without torchrun, `ALONE`.

    An exception that leaves the block is reported to the others and, when they all raise the same,
    shown once: the rest raise ShownError. timeout_seconds: how long the job may make no progress.
    Raises PeerLostError when another process is lost.
    """
    if not is_launched():
        yield ALONE
        return

    share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    detector, peers = _start(share, device, timeout_seconds)
    try:
        yield peers
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


def _start(
    share: Share, device: torch.device, timeout_seconds: float
) -> tuple[FailureDetector, Peers]:
    if _is_one_machine():
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")  # nothing listens to the network

    # torch's own limit comes late: the detector names who is missing, and knows who still works
    limit = datetime.timedelta(seconds=timeout_seconds + 3600)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"cnnlab/{attempt}/{next(_numbers)}", _store(share, limit))
    host = None if _launcher_hosts() else 0
    detector = FailureDetector(store, share, timeout_seconds, host)

    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if on_cuda else "gloo",
        store=store,
        rank=share.rank,
        world_size=share.size,
        timeout=limit,
    )
    control = dist.new_group(backend="gloo", timeout=limit) if on_cuda else None
    detector.start()
    return detector, Peers(share, control, detector)


def _is_one_machine() -> bool:
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


def _launcher_hosts() -> bool:
    """Return whether torchrun holds the store in which the processes meet; else rank 0 does."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store(share: Share, limit: datetime.timedelta) -> dist.Store:
    if _is_one_machine() and not _launcher_hosts():
        return _loopback_store(share, int(os.environ["MASTER_PORT"]), limit)
    store: dist.Store
    store, _, _ = next(dist.rendezvous("env://", timeout=limit))
    return store


@functools.cache
def _loopback_store(share: Share, port: int, limit: datetime.timedelta) -> dist.Store:
    """Return a store that rank 0 holds until it ends; only this machine reaches it."""
    listening = socket.create_server((LOOPBACK, port)).detach() if share.rank == 0 else None
    return dist.TCPStore(
        LOOPBACK,
        port,
        world_size=share.size,
        is_master=share.rank == 0,
        timeout=limit,
        master_listen_fd=listening,
    )


def cause_of(error: BaseException) -> str:
    """Return in one line why a process fails."""
    message = escape_control((str(error).splitlines() or [""])[0])
    if is_out_of_memory(error):
        return f"out of memory{': ' if message else ''}{message}"
    if isinstance(error, CnnlabError | KeyboardInterrupt):
        return message or type(error).__name__
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
