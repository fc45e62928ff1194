"""Which kernel computes local response normalization: the table, and the choice for a network."""

import torch
from torch import nn

from cnnlab.config.tables import load_by_name
from cnnlab.errors import ResourceError, UsageError
from cnnlab.models.normalization import Constants, Kernel, LocalResponseNorm

KERNELS = {
    "plain": "cnnlab.models.normalization:PLAIN",
    "triton": "cnnlab.models.triton_norm:KERNEL",
}
"""Where the kernel of each value of `runtime.lrn_kernel` is. All but plain need a CUDA device."""


def use(network: nn.Module, name: str) -> None:
    """Let the network, which is on its devices, normalize by the kernel called `name`.

    Raises UsageError where that has no effect or cannot run, ResourceError where Triton is missing
    or its kernels fail at a first try; it never falls back to another kernel.
    """
    if name == "plain":
        return
    layers = [module for module in network.modules() if isinstance(module, LocalResponseNorm)]
    if not layers:
        raise UsageError(
            f"runtime.lrn_kernel={name} has no effect: the network has no response normalization",
            hint="leave it out",
        )

    kernel = _loaded(name)
    for device in {weight.device for weight in network.parameters()}:
        if not _runs_on(device):
            raise UsageError(
                f"runtime.lrn_kernel={name} needs a CUDA device, and the network is on {device}",
                hint="runtime.lrn_kernel=plain runs everywhere",
            )
        _try(kernel, name, device)
    for layer in layers:
        layer.kernel = kernel


def _loaded(name: str) -> Kernel:
    try:
        kernel: Kernel = load_by_name(KERNELS[name])
    except ImportError as error:
        raise ResourceError(
            f"runtime.lrn_kernel={name}, but Triton cannot be imported",
            str(error),
            "it comes with torch's CUDA builds; runtime.lrn_kernel=plain needs none",
        ) from error
    return kernel


def _try(kernel: Kernel, name: str, device: torch.device) -> None:
    """Normalize a few numbers, there and back; raise ResourceError where the kernel cannot.

    Triton needs a C compiler where it runs, and finds out at its first kernel: here it is said at
    the start, in words. An error of the device itself is left as it is.
    """
    maps = torch.ones(1, 4, 2, 2, device=device)
    try:
        kernel.gradient(maps, kernel.normalize(maps, _TRIED), _TRIED)
    except torch.AcceleratorError:
        raise
    except Exception as error:  # whatever Triton, its compiler or a linker raises
        raise ResourceError(
            f"runtime.lrn_kernel={name}, but its kernels cannot be compiled or run on {device}",
            _first_line(error),
            "runtime.lrn_kernel=plain needs nothing",
        ) from error


_TRIED = Constants(size=3, alpha=1e-4, beta=0.75, k=2.0, groups=2)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _runs_on(device: torch.device) -> bool:
    """Return whether Triton runs there: on a CUDA device, or anywhere in its interpreter."""
    import triton

    return device.type == "cuda" or bool(triton.knobs.runtime.interpret)
