"""What computes response normalization and max pooling: the table, and a network's choice."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from cnnlab.config.runtime import AUTO
from cnnlab.config.tables import load_by_name
from cnnlab.errors import ResourceError, UsageError
from cnnlab.geometry import Window
from cnnlab.models.normalization import Constants, Kernel, LocalResponseNorm
from cnnlab.models.pooling import Maps, MaxPool2d, PoolKernel, layout_of

PLAIN, TRITON = "plain", "triton"


class Places(NamedTuple):
    """Where the kernels of one name are. pooling: None: torch's own."""

    normalization: str
    pooling: str | None


KERNELS = {
    PLAIN: Places("cnnlab.models.normalization:PLAIN", None),
    TRITON: Places("cnnlab.models.triton_norm:KERNEL", "cnnlab.models.triton_pool:KERNEL"),
}
"""The kernels of each value of `runtime.kernels` but auto. All but plain need a CUDA device."""

LEAST_CAPABILITY = (8, 0)
"""Of a CUDA device on which auto chooses Triton: the oldest that its kernels are compiled for."""


class Chosen(NamedTuple):
    """What auto chose: a line for the header of a run, where there was something to choose.

    is_missed: on a CUDA device, but without Triton.
    """

    line: str | None = None
    is_missed: bool = False


class _UnusableError(Exception):
    """Triton is missing, or its kernels fail: why, the reason in others' words, what to do."""

    def __init__(self, why: str, reason: str, hint: str) -> None:
        super().__init__(why, reason, hint)
        self.why, self.reason, self.hint = why, reason, hint


class _Loaded(NamedTuple):
    normalization: Kernel
    pooling: PoolKernel


def use(network: nn.Module, name: str, is_compiled: bool = False) -> Chosen:
    """Let the network, which is on its devices, compute by the kernels called `name`.

    is_compiled: torch.compile makes kernels of its own, so that auto leaves Triton out. Raises
    UsageError where Triton has no effect or cannot run, ResourceError where it is missing or its
    kernels fail at a first try; only auto then leaves the network as it is, and says why.
    """
    if name == AUTO:
        return _choose(network, is_compiled)
    if name == PLAIN:
        return Chosen()
    try:
        _use_strictly(network, name)
    except _UnusableError as error:
        why = f"runtime.kernels={name}, but {error.why}"
        raise ResourceError(why, error.reason, error.hint) from error
    return Chosen()


def _choose(network: nn.Module, is_compiled: bool) -> Chosen:
    """Use Triton where every weight is on a CUDA device that runs it; else say why not."""
    layers, devices = _layers_of(network), devices_of(network)
    if not layers or not any(device.type == "cuda" for device in devices):
        return Chosen()

    why = _why_not(devices, is_compiled)
    if why is None:
        try:
            _use_strictly(network, TRITON)
        except _UnusableError as error:
            why = f"{error.why} ({error.reason})"
    if why is not None:
        return Chosen(f"torch's: {why}", is_missed=True)
    return Chosen(f"Triton's, {_counted(layers)}")


def _why_not(devices: Sequence[torch.device], is_compiled: bool) -> str | None:
    """Return why auto does not even try; None: it does."""
    if is_compiled:
        return "runtime.compile=true makes its own"
    if any(device.type != "cuda" for device in devices):
        return f"the network is on {' and '.join(map(str, devices))}"
    for device in devices:
        capability = torch.cuda.get_device_capability(device)
        if capability < LEAST_CAPABILITY:
            least = ".".join(map(str, LEAST_CAPABILITY))
            return f"{device} has capability {'.'.join(map(str, capability))}, below {least}"
    return None


def _counted(layers: Sequence[nn.Module]) -> str:
    """Return 'for 2 response normalizations and 3 max poolings'."""
    num_norms = sum(isinstance(layer, LocalResponseNorm) for layer in layers)
    counts = [(num_norms, "response normalization"), (len(layers) - num_norms, "max pooling")]
    words = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    return f"for {' and '.join(words)}"


def _use_strictly(network: nn.Module, name: str) -> None:
    """Give each layer its kernel, once it was tried on each device."""
    layers = _layers_of(network)
    if not layers:
        raise UsageError(
            f"runtime.kernels={name} has no effect: the network has no response normalization or "
            "max pooling that it computes",
            hint="leave it out",
        )

    loaded = _loaded(name)
    for device in devices_of(network):
        if not _runs_on(device):
            raise UsageError(
                f"runtime.kernels={name} needs a CUDA device, and the network is on {device}",
                hint="runtime.kernels=auto leaves it out where it cannot run",
            )
        _try(loaded, device)
    for layer in layers:
        if isinstance(layer, LocalResponseNorm):
            layer.kernel = loaded.normalization
        elif loaded.pooling.takes(layer.window):
            layer.kernel = loaded.pooling


def _layers_of(network: nn.Module) -> list[LocalResponseNorm | MaxPool2d]:
    """Return the layers that a kernel computes."""
    modules = network.modules()
    return [each for each in modules if isinstance(each, LocalResponseNorm | MaxPool2d)]


def devices_of(network: nn.Module) -> list[torch.device]:
    """Return the devices of a network's weights, sorted by name."""
    return sorted({weight.device for weight in network.parameters()}, key=str)


def _loaded(name: str) -> _Loaded:
    places = KERNELS[name]
    try:
        found: list[Any] = [load_by_name(place) for place in places if place is not None]
    except ImportError as error:
        raise _UnusableError(
            "Triton cannot be imported",
            str(error),
            "it comes with torch's CUDA builds; runtime.kernels=plain needs none",
        ) from error
    return _Loaded(*found)


def _try(loaded: _Loaded, device: torch.device) -> None:
    """Compute a few numbers, there and back; raise _UnusableError where a kernel cannot.

    In the memory format of most runs. Triton needs a C compiler where it runs, and finds out at its
    first kernel: here it is said at the start, in words. An error of the device itself is left as
    it is.
    """
    norm, pooling = loaded
    maps = torch.ones(1, 32, 2, 2, device=device).contiguous(memory_format=torch.channels_last)
    try:
        norm.gradient(maps, norm.normalize(maps, _TRIED), _TRIED)
        pooled, places = pooling.pool(maps, _TRIED_WINDOW)
        pooling.gradient(pooled, places, Maps(maps.shape, layout_of(maps)), _TRIED_WINDOW)
    except torch.AcceleratorError:
        raise
    except Exception as error:  # whatever Triton, its compiler or a linker raises
        raise _UnusableError(
            f"Triton's kernels cannot be compiled or run on {device}",
            _first_line(error),
            "runtime.kernels=plain needs nothing",
        ) from error


_TRIED = Constants(size=3, alpha=1e-4, beta=0.75, k=2.0, groups=2)
_TRIED_WINDOW = Window(2, stride=2)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _runs_on(device: torch.device) -> bool:
    """Return whether Triton runs there: on a CUDA device, or anywhere in its interpreter."""
    import triton

    return device.type == "cuda" or bool(triton.knobs.runtime.interpret)
