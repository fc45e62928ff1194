"""Join the other processes of a job that torchrun started, and part from them in every way."""

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

from cnnlab.distributed.peers import ALONE, Peers
from cnnlab.distributed.share import Share
from cnnlab.distributed.watch import Watch
from cnnlab.errors import CnnlabError, Interrupted, ResourceError, ShownError
from cnnlab.printable import printable
from cnnlab.threads import leave_after

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LOOPBACK = "127.0.0.1"
SPEAK_SECONDS = 1.0
LEAVE_SECONDS = 5.0
"""After a failure, how long the clean-up may take before the process ends anyway."""

_numbers = itertools.count()
"""How often this process joined; the processes of a job join equally often."""


def is_launched() -> bool:
    """Say whether torchrun, or something that sets the same variables, started this process."""
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

    An exception on the way out is told to the others and, when they all raise the same, shown
    once: the rest raise ShownError. timeout_seconds: how long the job may stand still. Raises
    PeerLostError when another process is lost.
    """
    if not is_launched():
        yield ALONE
        return
    share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    watch, peers = _start(share, device, timeout_seconds)
    try:
        yield peers
    except Interrupted:  # all processes agreed on it, and saved
        _part(watch)
        raise
    except BaseException as error:
        watch.fail(error, cause_of(error))
        _part_at_exit(int(getattr(error, "exit_code", 1)))
        if isinstance(error, CnnlabError) and watch.is_told(error.what):
            time.sleep(SPEAK_SECONDS)  # the launcher ends all processes when the first is gone
            raise ShownError(error) from error
        raise
    _part(watch)


def _part(watch: Watch) -> None:
    watch.stop()
    dist.destroy_process_group()


def _part_at_exit(code: int) -> None:
    """Let the group go when the failure has been told, in some seconds even if that blocks.

    Its threads may still work on sums that nobody waits for: torch aborts a Python that ends under
    them. A peer that never comes to these sums blocks their end; then the process leaves anyway.
    """
    atexit.register(_destroy_group)
    leave_after(LEAVE_SECONDS, code)


def _destroy_group() -> None:
    with contextlib.suppress(Exception):  # a broken group is what the failure was about
        dist.destroy_process_group()


def _start(share: Share, device: torch.device, timeout_seconds: float) -> tuple[Watch, Peers]:
    if _is_one_machine():
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo")  # nothing listens to the network
    # torch's own limit comes late: the watch says who is missing, and knows who still works
    limit = datetime.timedelta(seconds=timeout_seconds + 3600)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"cnnlab/{attempt}/{next(_numbers)}", _store(share, limit))
    host = None if _launcher_hosts() else 0
    watch = Watch(store, share, timeout_seconds, host)
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
    watch.start()
    return watch, Peers(share, control, watch)


def _is_one_machine() -> bool:
    return os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]


def _launcher_hosts() -> bool:
    """Say whether torchrun holds the store in which the processes meet; else the first one does."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _store(share: Share, limit: datetime.timedelta) -> dist.Store:
    if _is_one_machine() and not _launcher_hosts():
        return _loopback_store(share, int(os.environ["MASTER_PORT"]), limit)
    store: dist.Store
    store, _, _ = next(dist.rendezvous("env://", timeout=limit))
    return store


@functools.cache
def _loopback_store(share: Share, port: int, limit: datetime.timedelta) -> dist.Store:
    """Return a store that the first process holds until it ends; only this machine reaches it."""
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
    """Say in one line why a process fails."""
    said = printable((str(error).splitlines() or [""])[0])
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in said:
        return f"out of memory{': ' if said else ''}{said}"
    if isinstance(error, CnnlabError | KeyboardInterrupt):
        return said or type(error).__name__
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
