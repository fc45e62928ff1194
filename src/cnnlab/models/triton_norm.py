"""Local response normalization as one Triton kernel each way, on maps of either memory format.

The arithmetic is that of the plain kernel, in float32, or float64 for float64 maps; half-precision
maps are read and written as they are, 2 bytes a unit instead of 4. The backward pass computes the
divisors again, so that nothing but the input is kept. Channels_last maps are the business of
`triton_norm_last`, as far as it takes them; here is a thread for each unit, which reads the
neighbors one by one from the cache.

Imports Triton, which comes with torch's CUDA builds, so only `kernels` imports this module.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnnlab.models import triton_launch, triton_norm_last
from cnnlab.models.normalization import Constants, Kernel
from cnnlab.models.pooling import layout_of

UNITS_PER_PROGRAM = 1024


class Layout(NamedTuple):
    """How the units of all maps lie in memory.

    stride: from a unit to that of the next map. maps: in a tower. is_double: float64, else what is
    computed is float32. is_large: more units than 32 bits count. units: of a program.
    """

    stride: int
    maps: int
    is_double: bool
    is_large: bool
    units: int


def normalize(maps: Tensor, constants: Constants) -> Tensor:
    """Return the normalized maps [N,C,H,W], in their dtype and memory format."""
    maps = maps.contiguous(memory_format=layout_of(maps))
    output = torch.empty_like(maps)
    by_run = triton_norm_last.normalize_runs
    _launch(_normalize, by_run, [maps, output], constants)
    return output


def gradient(maps: Tensor, pull: Tensor, constants: Constants) -> Tensor:
    """Return the gradient for maps [N,C,H,W], given that for the normalized maps."""
    maps = maps.contiguous(memory_format=layout_of(maps))
    pull = pull.contiguous(memory_format=layout_of(maps))
    output = torch.empty_like(maps)
    by_run = triton_norm_last.spread_runs
    _launch(_gradient, by_run, [maps, pull, output], constants)
    return output


def _launch(kernel: Any, by_run: Any, tensors: list[Tensor], constants: Constants) -> None:
    """Run a kernel, by_run where it takes the maps, the first of the tensors."""
    maps = tensors[0]
    if triton_norm_last.takes(maps, constants):
        triton_norm_last.launch(by_run, tensors, constants)
        return
    number = maps.numel()
    num_programs = triton.cdiv(number, UNITS_PER_PROGRAM)
    layout = _layout(maps, constants)
    triton_launch.launch(kernel, num_programs, tensors, number, layout, constants)


KERNEL = Kernel(normalize, gradient, takes_half=True)


def _layout(maps: Tensor, constants: Constants) -> Layout:
    height, width = maps.shape[2:]
    return Layout(
        stride=height * width if maps.is_contiguous() else 1,
        maps=maps.shape[1] // constants.groups,
        is_double=maps.dtype is torch.float64,
        is_large=triton_launch.is_large(maps.numel() + UNITS_PER_PROGRAM),
        units=UNITS_PER_PROGRAM,
    )


@triton.jit
def _own_units(number, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return the places of this program's units, and each one's map in its tower; -1: no unit."""
    program = tl.program_id(0)
    if LAYOUT.is_large:
        program = program.to(tl.int64)
    units = program * LAYOUT.units + tl.arange(0, LAYOUT.units)
    return units, tl.where(units < number, (units // LAYOUT.stride) % LAYOUT.maps, -1)


@triton.jit
def _read(values, units, maps, shift, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return the values `shift` maps further on; 0 beyond the first and the last of the tower."""
    inside = (maps >= 0) & (maps + shift >= 0) & (maps + shift < LAYOUT.maps)
    found = tl.load(values + units + shift * LAYOUT.stride, mask=inside, other=0.0)
    return found.to(tl.float64) if LAYOUT.is_double else found.to(tl.float32)


@triton.jit
def _divisor(values, units, maps, center, LAYOUT: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return k + alpha * the sum of squares around the unit `center` maps further on."""
    total = tl.zeros_like(_read(values, units, maps, 0, LAYOUT))
    for place in tl.static_range(0, tl.constexpr(C.size)):
        x = _read(values, units, maps, center + place - C.size // 2, LAYOUT)
        total += x * x
    return total * C.alpha + C.k


@triton.jit
def _power(divisor, BETA: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return divisor ** -beta; for the papers' beta, 0.75, from two roots."""
    if BETA == 0.75:
        root = tl.rsqrt(divisor)
        return root * tl.sqrt(root)
    else:  # noqa: RET505 - Triton compiles one of the two
        return tl.exp(tl.log(divisor) * -BETA)


@triton.jit
def _normalize(values, output, number, LAYOUT: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write x d^-beta."""
    units, maps = _own_units(number, LAYOUT)
    d = _divisor(values, units, maps, 0, LAYOUT, C)
    x = _read(values, units, maps, 0, LAYOUT)
    tl.store(output + units, x * _power(d, C.beta), mask=maps >= 0)


@triton.jit
def _gradient(values, pulls, output, number, LAYOUT: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write g d^-beta - 2 alpha beta x (the sum of g d^-beta x / d over the window)."""
    units, maps = _own_units(number, LAYOUT)
    own = _read(pulls, units, maps, 0, LAYOUT)
    shared = tl.zeros_like(own)
    for place in tl.static_range(0, tl.constexpr(C.size)):
        shift = place - C.size // 2
        d = _divisor(values, units, maps, shift, LAYOUT, C)
        scaled = _read(pulls, units, maps, shift, LAYOUT) * _power(d, C.beta)
        shared += scaled * _read(values, units, maps, shift, LAYOUT) / d

    d = _divisor(values, units, maps, 0, LAYOUT, C)
    x = _read(values, units, maps, 0, LAYOUT)
    inner = own * _power(d, C.beta)
    tl.store(output + units, inner - 2.0 * C.alpha * C.beta * x * shared, mask=maps >= 0)
