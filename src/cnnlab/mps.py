"""A Mac's GPU, mps in torch: found when asked for, and refused where it cannot do its work.

Not yet run on one. What nobody has tried there is refused in one line; what training needs is tried
on a few numbers at the start of each command, and compared with the CPU.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.config.runtime import RuntimeConfig
from cnnlab.errors import ResourceError, UsageError

_UNTRIED = (
    ("precision", "bf16", "fp32", "autocast is untried there"),
    ("deterministic", True, "false", "torch does not promise the same bits there"),
    ("compile", True, "false", "torch.compile is untried there"),
    ("capture", True, "false", "it replays CUDA graphs"),
    ("kernels", "triton", "auto", "Triton has no kernels for it"),
    ("fused_update", True, "false", "it is untried there"),
    ("profile", True, "false", "torch's profiler sees no kernels there"),
)
"""(setting of runtime, value that is refused, what to give instead, why)."""


def find(name: str) -> torch.device:
    """Return the device called mps or mps:0. Raises ResourceError where torch finds none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or found.type != "mps":
        built = torch.backends.mps.is_built()
        why = "torch finds no GPU of Apple" if built else "this torch was built without it"
        raise ResourceError(f"runtime.device={name}, but {why}", hint="runtime.device=cpu works")
    return torch.device("mps", 0)


def check(runtime: RuntimeConfig, device: torch.device, is_launched: bool) -> None:
    """Raise UsageError for what is untried on a Mac's GPU, ResourceError where it cannot train.

    is_launched: by torchrun.
    """
    if device.type != "mps":
        return
    for key, value, instead, why in _UNTRIED:
        if getattr(runtime, key) == value:
            typed = str(value).lower()
            raise UsageError(
                f"runtime.{key}={typed} on mps: {why}", hint=f"runtime.{key}={instead}"
            )
    if is_launched:
        what = "runtime.device=mps under torchrun: gloo sums no gradients on a Mac's GPU"
        raise UsageError(what, hint="runtime.device=cpu, or without torchrun")
    check_operators(device)


def widest_float(device: torch.device) -> torch.dtype:
    """Return the type to sum in: float64, but float32 on a Mac's GPU, which has no wider one."""
    return torch.float32 if device.type == "mps" else torch.float64


class Trial(NamedTuple):
    """What a training computes, on a few numbers."""

    loss: Tensor
    convolution_gradient: Tensor
    product_gradient: Tensor
    update: Tensor
    skipped_update: Tensor


def check_operators(device: torch.device) -> None:
    """Raise ResourceError where `device` lacks an operator of training, or computes otherwise."""
    advice = "runtime.device=cpu works"
    try:
        found = [tensor.cpu() for tensor in _try(device)]
    except (NotImplementedError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ResourceError(f"torch cannot train on {device.type}", reason, advice) from error

    for name, there, here in zip(Trial._fields, found, _try(torch.device("cpu")), strict=True):
        if not torch.allclose(there, here, rtol=1e-3, atol=1e-4):
            what = (
                f"torch computes another {name.replace('_', ' ')} on {device.type} than on the CPU"
            )
            raise ResourceError(what, hint=advice)


def _try(device: torch.device) -> Trial:
    """Return the results of a tiny training step: convolution, pooling, product, loss, update."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    images = random(4, 3, 9, 9).to(memory_format=torch.channels_last).to(device)
    kernels, matrix = random(8, 3, 3, 3).to(device), random(5, 72).to(device)
    kernels.requires_grad_(), matrix.requires_grad_()

    maps = F.max_pool2d(F.relu(F.conv2d(images, kernels)), 2)
    labels = torch.arange(4).to(device)
    loss = F.cross_entropy(F.linear(maps.flatten(1), matrix), labels)
    gradients = torch.autograd.grad(loss, (kernels, matrix))

    updated = [_updated(matrix.detach(), gradients[1], skipped) for skipped in (0.0, 1.0)]
    return Trial(loss.detach(), *gradients, *updated)


def _updated(weights: Tensor, gradient: Tensor, skipped: float) -> Tensor:
    """Return weights after one update with momentum, which a flag on the device may skip."""
    weights, velocity = weights.clone(), torch.zeros_like(weights)
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01, "momentum": 0.9, "dampening": 0.0}
    settings |= {"nesterov": False, "maximize": False, "is_first_step": False, "grad_scale": None}
    found_inf = torch.full((), skipped).to(weights.device)
    torch._fused_sgd_([weights], [gradient], [velocity], **settings, found_inf=found_inf)
    return weights
