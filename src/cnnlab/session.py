"""How every command begins and ends: device, precision, threads, Ctrl-C, processes, bad files.

The one place that reads a command's `runtime` section, so that no command can forget a part of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from cnnlab import distributed, interrupts, mps
from cnnlab.config import Launch, flat, to_plain
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.distributed import ALONE, Peers
from cnnlab.errors import BadFilesError
from cnnlab.run_folder import provenance
from cnnlab.runtime import (
    configure,
    forward_precision,
    precision_warning,
    select_device,
    use_threads,
)
from cnnlab.safe_output import say


@dataclass(frozen=True)
class Session:
    """What a command computes with. peers: the processes that share its work.

    runtime: the command's settings; None: torch's global switches are the caller's. kernels: as
    `kernels.use` takes it.
    """

    device: torch.device
    precision: str
    channels_last: bool
    peers: Peers = ALONE
    runtime: RuntimeConfig | None = None
    kernels: str = "plain"

    def feed(self, multiply_adds: int) -> None:
        """Let as many threads compute as a forward pass of so many multiply-adds feeds."""
        if self.runtime is not None:
            use_threads(self.device, self.runtime.num_threads, multiply_adds)

    @property
    def forward(self) -> Callable[[], AbstractContextManager[object]]:
        """Return what makes the context of a forward pass in this precision."""
        return forward_precision(self.precision, self.device)


def begin(runtime: RuntimeConfig, warn: Callable[[str], object] = say) -> Session:
    """Choose the device and set every torch-global switch as `runtime` asks.

    warn: called where the precision gains nothing. Raises ResourceError for a missing device,
    UsageError for an unknown one.
    """
    device = select_device(distributed.device_name(runtime.device))
    mps.check(runtime, device, distributed.is_launched())
    configure(
        device,
        precision=runtime.precision,
        num_threads=runtime.num_threads,
        deterministic=runtime.deterministic,
    )

    if warning := precision_warning(runtime.precision, device):
        warn(warning)
    return Session(
        device,
        runtime.precision,
        runtime.channels_last,
        runtime=runtime,
        kernels=runtime.kernels,
    )


def begin_in_python(device: str) -> Session:
    """Choose the device for `cnnlab.load`; torch's global switches belong to the caller."""
    return Session(select_device(device), precision="fp32", channels_last=True)


@contextlib.contextmanager
def shared(
    runtime: RuntimeConfig,
    timeout_seconds: float,
    warn: Callable[[str], object] = say,
    settings: Any = None,
) -> Iterator[Session]:
    """Begin a command that several processes may share, and that asks for requests to stop.

    Inside the block Ctrl-C and SIGTERM only set the flag of `interrupts.requested`.
    timeout_seconds: the job is ended after this long without progress of any process. settings: of
    the command, for processes that must all have the same. Raises UsageError where they differ.
    """
    warnings: list[str] = []
    alone = begin(runtime, warn=warnings.append)

    facts = started_with(settings) if distributed.is_launched() else None
    with interrupts.watching(), distributed.joined(alone.device, timeout_seconds, facts) as peers:
        for warning in warnings if peers.is_first else ():  # the others found the same
            warn(warning)
        yield replace(alone, peers=peers)


OWN = (
    "dataset.root",
    "dataset.download",
    "dataset.num_decode_threads",
    "dataset.num_readers",
    "dataset.residency",
    "runtime.device",
    "runtime.num_threads",
    "logging.progress",
)
"""Settings in which the machines of a job may differ."""


def started_with(settings: Any) -> dict[str, Any]:
    """Return what must be the same in every process of a job: settings and versions, by key."""
    found = {} if settings is None else of_all(to_plain(settings))
    return found | {f"version of {name}": text for name, text in provenance.versions().items()}


def of_all(plain: dict[str, Any]) -> dict[str, Any]:
    """Return plain settings by dotted key, without those in which machines may differ."""
    return {key: value for key, value in flat(plain).items() if key not in OWN}


@contextlib.contextmanager
def skip_hint(launch: Launch, *, resumes: bool = False) -> Iterator[None]:
    """Give a BadFilesError of the block the command that leaves the bad files out as its hint.

    resumes: the command continues a run, which records its images.
    """
    try:
        yield
    except BadFilesError as error:
        advice = skip_advice(launch, resumes=resumes)
        raise BadFilesError(error.what, error.where, advice) from error


LEAVE_OUT = "repair or remove them, or leave them out: "
"""Before the command, in the hint of a BadFilesError."""


def skip_advice(launch: Launch, *, resumes: bool) -> str:
    """Return the hint with the command that leaves bad files out."""
    words = ["dataset.on_bad=skip"]
    if resumes:
        words.append("allow_changes=[dataset.on_bad,data_digest]")
    return LEAVE_OUT + " ".join([launch.command, *words])
