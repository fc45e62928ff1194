"""Max pooling as one Triton kernel each way, on maps of either memory format.

The forward pass keeps the place of each maximum in its window, one byte. The backward pass gathers:
each pixel looks at the windows that cover it, in the order in which torch adds them, so that no two
programs write to one number and equal runs are equal bit for bit. Half-precision maps are read and
written as they are; gradients are summed in float32, or float64 for float64 maps.

Imports Triton, which comes with torch's CUDA builds, so only `kernels` imports this module.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnnlab.geometry import Window
from cnnlab.models import triton_launch
from cnnlab.models.pooling import Maps, PoolKernel, layout_of

BYTES_PER_PROGRAM = 2048
"""Of the numbers that it computes: 16 for each of its 128 threads, read and written at once."""

LARGEST_WINDOW = 16
"""Pixels of a side: a byte holds the places of no larger window."""


class Layout(NamedTuple):
    """The sizes of a pooling, all known when its kernels are compiled.

    inner: numbers of a pixel that lie side by side: all maps, or 1 where each map lies by itself.
    height, width: of the maps. rows, columns: of the pooled maps. covering: windows over a pixel
    along a side, at most. clipped: whether some window extends beyond an edge. is_double: float64.
    is_large: more units than 32 bits count. units: of a program.
    """

    inner: int
    height: int
    width: int
    rows: int
    columns: int
    kernel: int
    stride: int
    padding: int
    covering: int
    clipped: bool
    is_double: bool
    is_large: bool
    units: int


def takes(window: Window) -> bool:
    """Return whether the kernels can compute a window: without dilation, of at most 16 pixels."""
    return window.dilation == 1 and window.kernel <= LARGEST_WINDOW


def pool(maps: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return the pooled maps [N,C,h,w] in their dtype and memory format, and the places, uint8."""
    given = Maps(maps.shape, layout_of(maps))
    maps = maps.contiguous(memory_format=given.layout)
    sides = [window.output_size(side) for side in maps.shape[2:]]
    pooled = torch.empty(
        (*maps.shape[:2], *sides),
        dtype=maps.dtype,
        device=maps.device,
        memory_format=given.layout,
    )
    places = torch.empty_like(pooled, dtype=torch.uint8, memory_format=given.layout)
    _launch(_pool, [maps, pooled, places], pooled.numel(), _layout(given, window, maps.dtype))
    return pooled, places


def gradient(pull: Tensor, places: Tensor, maps: Maps, window: Window) -> Tensor:
    """Return the gradient for the maps, given that for the pooled ones and the places."""
    pull = pull.contiguous(memory_format=maps.layout)
    places = places.contiguous(memory_format=maps.layout)
    output = torch.empty(
        maps.shape, dtype=pull.dtype, device=pull.device, memory_format=maps.layout
    )
    _launch(_gather, [pull, places, output], output.numel(), _layout(maps, window, pull.dtype))
    return output


KERNEL = PoolKernel(pool, gradient, takes)


def _launch(kernel: Any, tensors: list[Tensor], number: int, layout: Layout) -> None:
    """Compute so many numbers."""
    num_programs = triton.cdiv(number, layout.units)
    triton_launch.launch(kernel, num_programs, tensors, number, layout)


def _layout(maps: Maps, window: Window, dtype: torch.dtype) -> Layout:
    size, channels, height, width = maps.shape
    rows, columns = window.output_size(height), window.output_size(width)
    most = size * channels * max(height * width, rows * columns)  # padding may add pixels
    return Layout(
        inner=channels if maps.layout is torch.channels_last else 1,
        height=height,
        width=width,
        rows=rows,
        columns=columns,
        kernel=window.kernel,
        stride=window.stride,
        padding=window.padding,
        covering=-(-window.kernel // window.stride),
        clipped=window.padding > 0 or any(map(window.overhang, (height, width))),
        is_double=dtype is torch.float64,
        is_large=triton_launch.is_large(most + BYTES_PER_PROGRAM),
        units=BYTES_PER_PROGRAM // dtype.itemsize,
    )


@triton.jit
def _own_units(LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return the places in memory of this program's units."""
    program = tl.program_id(0)
    if LAYOUT.is_large:
        program = program.to(tl.int64)
    return program * LAYOUT.units + tl.arange(0, LAYOUT.units)


@triton.jit
def _located(units, ROWS: tl.constexpr, COLUMNS: tl.constexpr, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return a unit's image (or map, where each lies by itself), row, column and place in it."""
    pixels = units // LAYOUT.inner
    lines = pixels // COLUMNS
    return lines // ROWS, lines % ROWS, pixels % COLUMNS, units % LAYOUT.inner


@triton.jit
def _wide(numbers, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return numbers as what is computed with."""
    return numbers.to(tl.float64) if LAYOUT.is_double else numbers.to(tl.float32)


@triton.jit
def _pool(values, output, places, number, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write the maximum of each window and its place: the first of equal ones, the last NaN."""
    units = _own_units(LAYOUT)
    exists = units < number
    image, row, column, inner = _located(units, LAYOUT.rows, LAYOUT.columns, LAYOUT)
    top = row * LAYOUT.stride - LAYOUT.padding
    left = column * LAYOUT.stride - LAYOUT.padding
    first = ((image * LAYOUT.height + top) * LAYOUT.width + left) * LAYOUT.inner + inner

    best = _wide(tl.full([LAYOUT.units], float("-inf"), tl.float32), LAYOUT)
    place = tl.full([LAYOUT.units], 0, tl.int32)
    if LAYOUT.clipped:  # where all is -inf, the first pixel that there is
        skipped = tl.maximum(-top, 0) * LAYOUT.kernel + tl.maximum(-left, 0)
        place = skipped.to(tl.int32)

    for each in tl.static_range(0, tl.constexpr(LAYOUT.kernel * LAYOUT.kernel)):
        down, right = each // LAYOUT.kernel, each % LAYOUT.kernel
        inside = exists
        if LAYOUT.clipped:
            inside = inside & (top + down >= 0) & (top + down < LAYOUT.height)
            inside = inside & (left + right >= 0) & (left + right < LAYOUT.width)
        beyond = (down * LAYOUT.width + right) * LAYOUT.inner
        found = _wide(tl.load(values + first + beyond, mask=inside, other=float("-inf")), LAYOUT)
        wins = (found > best) | (found != found)
        best = tl.where(wins, found, best)
        place = tl.where(wins, each, place)

    tl.store(output + units, best, mask=exists)
    tl.store(places + units, place.to(tl.uint8), mask=exists)


@triton.jit
def _gather(pulls, places, output, number, LAYOUT: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write the sum of the gradients of the windows whose maximum a pixel is."""
    units = _own_units(LAYOUT)
    exists = units < number
    image, row, column, inner = _located(units, LAYOUT.height, LAYOUT.width, LAYOUT)
    row += LAYOUT.padding
    column += LAYOUT.padding
    total = _wide(tl.full([LAYOUT.units], 0.0, tl.float32), LAYOUT)

    for each in tl.static_range(0, tl.constexpr(LAYOUT.covering * LAYOUT.covering)):
        above = row // LAYOUT.stride - (LAYOUT.covering - 1 - each // LAYOUT.covering)
        before = column // LAYOUT.stride - (LAYOUT.covering - 1 - each % LAYOUT.covering)
        down, right = row - above * LAYOUT.stride, column - before * LAYOUT.stride
        covers = exists & (above >= 0) & (above < LAYOUT.rows) & (down < LAYOUT.kernel)
        covers = covers & (before >= 0) & (before < LAYOUT.columns) & (right < LAYOUT.kernel)

        window = ((image * LAYOUT.rows + above) * LAYOUT.columns + before) * LAYOUT.inner + inner
        place = tl.load(places + window, mask=covers, other=0).to(tl.int32)
        pull = _wide(tl.load(pulls + window, mask=covers, other=0.0), LAYOUT)
        is_maximum = covers & (place == down * LAYOUT.kernel + right)
        total += tl.where(is_maximum, pull, 0.0)

    tl.store(output + units, total, mask=exists)
