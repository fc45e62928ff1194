"""`runtime.capture`: whether a training is captured as CUDA graphs, and where not, why."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from cnnlab.config import TrainConfig
from cnnlab.config.checks import why_not_captured
from cnnlab.config.runtime import AUTO
from cnnlab.config.tables import tables
from cnnlab.distributed import Peers
from cnnlab.errors import UsageError
from cnnlab.models import Network, kernels
from cnnlab.training import captured
from cnnlab.training.captured import Capture


@dataclass(frozen=True)
class Capturing:
    """What captures computations of a training; for each use one that has its own memory.

    make: None: nothing is captured. line: what a run says about it, where it was to choose.
    """

    make: Callable[[], Capture] | None = None
    line: str | None = None


def choose(config: TrainConfig, network: Network, peers: Peers) -> Capturing:
    """Return what `runtime.capture` asks for, for a network that is on its devices.

    Raises UsageError where it is true and cannot be; auto leaves it out, with the reason where the
    network is on a CUDA device.
    """
    asked = config.runtime.capture
    if not asked:
        return Capturing()
    devices = kernels.devices_of(network)
    why = why_not_captured(config.runtime, config.trainer, config.loss, config.distributed)
    why = f"not with {why}" if why else _why_not_here(devices, peers)
    if why is None and asked == AUTO:
        why = _why_not_unasked(config)

    if why is None:
        line = "the step, as CUDA graphs" if asked == AUTO else None
        return Capturing(partial(captured.cuda_graphs, devices[0]), line)
    if asked == AUTO:
        is_on_gpu = any(device.type == "cuda" for device in devices)
        return Capturing(line=f"none: {why}" if is_on_gpu else None)
    raise UsageError(
        f"runtime.capture=true needs one process on one CUDA device; {why}",
        hint="runtime.capture=false trains it; auto does, and says why",
    )


def _why_not_here(devices: list[torch.device], peers: Peers) -> str | None:
    """Return why no graph can hold the step of these processes on these devices."""
    if peers.size > 1:
        return f"torchrun started {peers.size} processes, which wait for one another in each step"
    if len(devices) > 1:
        return f"the network is on {' and '.join(map(str, devices))}"
    return None if devices[0].type == "cuda" else f"the network is on {devices[0]}"


def _why_not_unasked(config: TrainConfig) -> str | None:
    """Return what may do more than a graph can hold, and is captured only when asked for."""
    for group, section in (("model", config.model), ("loss", config.loss)):
        if section.name in tables()[group].own:
            return f"{group}={section.name} is your own, and may do what no graph holds"
    return None
