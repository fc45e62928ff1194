"""Response normalization of channels_last maps, whose neighbors lie side by side, in Triton.

Each thread reads a run of neighboring maps of one pixel, 16 bytes at once, and the 16 bytes before
and after it; all that follows are numbers of its own. So a number is read two or three times, from
a cache but for the first, where a thread for each number reads its neighbors one by one; and the
backward pass computes a power for each map of the run and for two more at either end, instead of
six for each. The arithmetic is that of `triton_norm`, which chooses.
"""

# mypy: disable-error-code="assignment"
# Tuples of numbers grow in loops that Triton unrolls; it takes no annotation of their type.

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnnlab.models import triton_launch
from cnnlab.models.normalization import Constants

BYTES_AT_ONCE = 16
"""Of a run: runs of 32 bytes were slower on an H200."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
RUNS_PER_PROGRAM = 128


class Runs(NamedTuple):
    """How the maps of a pixel are parted into runs.

    maps: in a tower. block: numbers of a run, read at once. is_large: more numbers than 32 bits
    count. runs: of a program.
    """

    maps: int
    block: int
    is_large: bool
    runs: int


def takes(maps: Tensor, constants: Constants) -> bool:
    """Return whether runs compute these maps: channels_last, and towers that are whole runs."""
    if maps.dtype not in DTYPES or maps.is_contiguous():
        return False
    runs = runs_of(maps, constants)
    is_reached = 2 * (constants.size // 2) <= runs.block
    return is_reached and runs.maps % runs.block == 0


def runs_of(maps: Tensor, constants: Constants) -> Runs:
    """Return the runs of maps [N,C,H,W]."""
    block = BYTES_AT_ONCE // maps.element_size()
    return Runs(
        maps=maps.shape[1] // constants.groups,
        block=block,
        is_large=triton_launch.is_large(maps.numel() + RUNS_PER_PROGRAM * 2 * block),
        runs=RUNS_PER_PROGRAM,
    )


def launch(kernel: Any, tensors: list[Tensor], constants: Constants) -> None:
    """Run a kernel on tensors that are all channels_last."""
    runs, number = runs_of(tensors[0], constants), tensors[0].numel()
    num_programs = triton.cdiv(number, runs.block * runs.runs)
    triton_launch.launch(kernel, num_programs, tensors, number, runs, constants)


@triton.jit
def _own_runs(number, RUNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return where this program's runs begin, and each one's first map in its tower; -1: none."""
    program = tl.program_id(0)
    if RUNS.is_large:
        program = program.to(tl.int64)
    first = (program * RUNS.runs + tl.arange(0, RUNS.runs)) * RUNS.block
    return first, tl.where(first < number, first % RUNS.maps, -1)


@triton.jit
def _apart(block, RUNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return the columns of a block [runs, 4 or 8], one by one."""
    if RUNS.block == 4:
        even, odd = tl.split(tl.reshape(block, [RUNS.runs, 2, 2]))
        a, c = tl.split(even)
        b, d = tl.split(odd)
        return a, b, c, d
    else:  # noqa: RET505 - Triton compiles one of the two
        even, odd = tl.split(tl.reshape(block, [RUNS.runs, 2, 2, 2]))
        even_a, even_b = tl.split(even)
        odd_a, odd_b = tl.split(odd)
        a, e = tl.split(even_a)
        c, g = tl.split(even_b)
        b, f = tl.split(odd_a)
        d, h = tl.split(odd_b)
        return a, b, c, d, e, f, g, h


@triton.jit
def _together(columns, RUNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return columns as a block."""
    if RUNS.block == 4:
        even = tl.join(columns[0], columns[2])
        odd = tl.join(columns[1], columns[3])
    else:
        even_a = tl.join(columns[0], columns[4])
        even_b = tl.join(columns[2], columns[6])
        odd_a = tl.join(columns[1], columns[5])
        odd_b = tl.join(columns[3], columns[7])
        even, odd = tl.join(even_a, even_b), tl.join(odd_a, odd_b)
    return tl.reshape(tl.join(even, odd), [RUNS.runs, RUNS.block])


@triton.jit
def _read(values, first, maps, RUNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return the numbers of the runs, of the block before and of that after; 0 beyond a tower."""
    found = ()
    for each in tl.static_range(0, 3):
        shift = (each - 1) * RUNS.block
        inside = (maps >= 0) & (maps + shift >= 0) & (maps + shift < RUNS.maps)
        where = (first + shift)[:, None] + tl.arange(0, RUNS.block)[None, :]
        block = tl.load(values + where, mask=inside[:, None], other=0.0)
        found += _apart(block.to(tl.float32), RUNS)
    return found


@triton.jit
def _write(output, numbers, first, maps, RUNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write the numbers of the runs."""
    where = first[:, None] + tl.arange(0, RUNS.block)[None, :]
    tl.store(output + where, _together(numbers, RUNS), mask=(maps >= 0)[:, None])


@triton.jit
def _window_sums(numbers, FIRST: tl.constexpr, COUNT: tl.constexpr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return COUNT sums of SIZE numbers, the first from FIRST on."""
    sums = ()
    for each in tl.static_range(0, COUNT):
        total = numbers[FIRST + each]
        for place in tl.static_range(1, SIZE):
            total += numbers[FIRST + each + place]
        sums += (total,)
    return sums


@triton.jit
def _products(some, others):  # type: ignore[no-untyped-def]
    """Return the products of numbers in pairs."""
    found = ()
    for each in tl.static_range(0, tl.constexpr(len(some))):
        found += (some[each] * others[each],)
    return found


@triton.jit
def _powers(divisor, BETA: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Return divisor ** -beta and 1 / divisor; for the papers' beta, 0.75, from two roots."""
    if BETA == 0.75:
        root = tl.rsqrt(divisor)
        return root * tl.sqrt(root), root * root
    else:  # noqa: RET505 - Triton compiles one of the two
        return tl.exp(tl.log(divisor) * -BETA), 1.0 / divisor


@triton.jit
def normalize_runs(values, output, number, RUNS: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write x d^-beta."""
    first, maps = _own_runs(number, RUNS)
    x = _read(values, first, maps, RUNS)
    length: tl.constexpr = RUNS.block
    sums = _window_sums(_products(x, x), RUNS.block - C.size // 2, length, C.size)

    found = ()
    for each in tl.static_range(0, length):
        power, _ = _powers(sums[each] * C.alpha + C.k, C.beta)
        found += (x[RUNS.block + each] * power,)
    _write(output, found, first, maps, RUNS)


@triton.jit
def spread_runs(values, pulls, output, number, RUNS: tl.constexpr, C: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Write g d^-beta - 2 alpha beta x (the sum of g d^-beta x / d over the window)."""
    first, maps = _own_runs(number, RUNS)
    x, pull = _read(values, first, maps, RUNS), _read(pulls, first, maps, RUNS)
    length: tl.constexpr = RUNS.block
    reach: tl.constexpr = C.size // 2
    start: tl.constexpr = RUNS.block - reach  # of the units whose windows have a unit of the run
    sums = _window_sums(_products(x, x), start - reach, length + 2 * reach, C.size)

    own, shares = (), ()
    for each in tl.static_range(0, tl.constexpr(length + 2 * reach)):
        power, inverse = _powers(sums[each] * C.alpha + C.k, C.beta)
        scaled = pull[start + each] * power
        own += (scaled,)
        shares += (scaled * x[start + each] * inverse,)

    shared = _window_sums(shares, 0, length, C.size)
    found = ()
    for each in tl.static_range(0, length):
        factor = 2.0 * C.alpha * C.beta * x[RUNS.block + each]
        found += (own[reach + each] - factor * shared[each],)
    _write(output, found, first, maps, RUNS)
