"""How every command begins: device, precision, threads, requests to stop, and other processes.

The one place that reads a command's `runtime` section, so that no command can forget a part of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from cnnlab import distributed, interrupts
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.distributed import ALONE, Peers
from cnnlab.printable import say
from cnnlab.runtime import configure, forward_precision, precision_warning, select_device


@dataclass(frozen=True)
class Session:
    """What a command computes with. peers: the processes that share its work."""

    device: torch.device
    precision: str
    channels_last: bool
    peers: Peers = ALONE

    @property
    def forward(self) -> Callable[[], AbstractContextManager[object]]:
        """Return what makes the context of a forward pass in this precision."""
        return forward_precision(self.precision, self.device)


def begin(
    runtime: RuntimeConfig, peers: Peers = ALONE, warn: Callable[[str], object] = say
) -> Session:
    """Choose the device and set every torch-global switch as `runtime` asks.

    warn: told where the precision gains nothing. Raises ResourceError for a device that is not
    there, UsageError for a word that is none.
    """
    device = select_device(distributed.device_name(runtime.device))
    configure(
        device,
        precision=runtime.precision,
        num_threads=runtime.num_threads,
        deterministic=runtime.deterministic,
    )

    if warning := precision_warning(runtime.precision, device):
        warn(warning)
    return Session(device, runtime.precision, runtime.channels_last, peers)


@contextlib.contextmanager
def shared(
    runtime: RuntimeConfig, timeout_seconds: float, warn: Callable[[str], object] = say
) -> Iterator[Session]:
    """Begin a command that several processes may work on, and that asks for requests to stop.

    Inside the block Ctrl-C and SIGTERM only set the flag of `interrupts.requested`.
    timeout_seconds: how long the processes may stand still.
    """
    warnings: list[str] = []
    alone = begin(runtime, warn=warnings.append)
    with interrupts.watching(), distributed.joined(alone.device, timeout_seconds) as peers:
        for warning in warnings if peers.is_first else ():  # the others found the same
            warn(warning)
        yield Session(alone.device, alone.precision, alone.channels_last, peers)
