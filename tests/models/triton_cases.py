"""Compare Triton's normalization and pooling with exact ones, in Triton's interpreter.

Run by tests/models/test_kernels.py in a process of its own: TRITON_INTERPRET=1 is read when
Triton is imported. It prints, as JSON, {case: [largest differences, relative to the largest value,
of the maps and of the gradients]}, and of poolings and a training what `pooled` and `trained`
return.
"""

import json
from itertools import product

import torch
from torch import Tensor

from cnnlab.geometry import Window
from cnnlab.models import kernels, triton_launch, triton_norm, triton_norm_last, triton_pool
from cnnlab.models.normalization import LocalResponseNorm
from cnnlab.models.pooling import MaxPool2d
from tests.reference import models as reference

SHAPES = {
    "odd": (3, 6, 5, 7),
    "runs": (2, 32, 3, 5),
    "one unit a map": (2, 10, 1, 1),
    "none": (0, 6, 3, 3),
}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
CONSTANTS = {
    "paper": (5, 1e-4, 0.75, 2.0),
    "source": (5, 1e-4 / 5, 0.75, 2.0),
    "cifar": (9, 1e-3 / 9, 0.75, 1.0),
    "other power": (3, 1e-3, 0.6, 2.0),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
NUMBERS = {**DTYPES, "float16": torch.float16}
TAKEN: list[bool] = []
"""Whether a thread computed a run of neighbors, of each normalization that was compared."""


def cases() -> dict[str, tuple[str, ...]]:
    """Return the cases by name: all of shape, format and towers; then constants, then dtypes."""
    found = list(product(SHAPES, FORMATS, ("1", "2"), ("paper",), ("float32",)))
    found += list(product(("odd", "runs"), ("last",), ("2",), CONSTANTS, ("float32", "bfloat16")))
    found += list(product(("odd",), FORMATS, ("1",), ("paper",), DTYPES))
    found += list(product(("runs",), FORMATS, ("1", "2"), ("paper",), NUMBERS))
    return {", ".join(case): case for case in found}


def differences(shape: str, layout: str, groups: str, constants: str, dtype: str) -> list[float]:
    size, alpha, beta, k = CONSTANTS[constants]
    generator = torch.Generator().manual_seed(0)
    maps = 40 * torch.randn(SHAPES[shape], generator=generator, dtype=torch.float64)
    pull = torch.randn(maps.shape, generator=generator, dtype=torch.float64).to(NUMBERS[dtype])
    given = maps.to(NUMBERS[dtype]).contiguous(memory_format=FORMATS[layout]).requires_grad_()
    exact = given.detach().double().requires_grad_()

    layer = LocalResponseNorm(size, alpha, beta, k, int(groups))
    layer.kernel = triton_norm.KERNEL
    TAKEN.append(triton_norm_last.takes(given, layer.constants))
    found = layer(given)
    assert found.dtype is given.dtype
    assert found.stride() == given.stride() or not len(given)
    found.backward(pull)  # in another memory format than the maps

    wanted = reference.response_norm(exact, size, alpha, beta, k, int(groups))
    wanted.backward(pull.double())
    assert given.grad is not None
    assert exact.grad is not None
    return [largest(found, wanted), largest(given.grad, exact.grad)]


def largest(found: Tensor, wanted: Tensor) -> float:
    if not len(wanted):
        return 0.0
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


WINDOWS = {
    "overlapping": Window(3, 2),
    "side by side": Window(2, 2),
    "padded": Window(3, 2, 1),
    "beyond the edge": Window(3, 2, ceil=True),
    "at every pixel": Window(3, 1, 1),
    "apart": Window(2, 3),
    "large": Window(5, 2, 2, ceil=True),
}
POOLED_SHAPES = {"odd": (2, 5, 7, 8), "16 maps": (1, 16, 9, 9), "none": (0, 3, 7, 7)}


def pooling_cases() -> list[tuple[str, ...]]:
    """Return all windows with all shapes and formats, and one of each with all dtypes."""
    found = list(product(WINDOWS, POOLED_SHAPES, FORMATS, ("float32",)))
    return found + list(product(("overlapping", "large"), ("odd",), FORMATS, NUMBERS))


def pooled(window: str, shape: str, layout: str, dtype: str) -> list[float | bool]:
    """Return whether the pooled maps are torch's bit for bit, and how far gradients are apart.

    The maps have many equal numbers, a corner of -inf, and two NaNs in one window.
    """
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(-3, 4, POOLED_SHAPES[shape], generator=generator).to(NUMBERS[dtype])
    if len(maps):
        maps[0, 0, :3, :3] = -torch.inf
        maps[0, 1, 2, 2:4] = torch.nan
    layer, found = MaxPool2d(WINDOWS[window]), list[Tensor]()
    for kernel in (None, triton_pool.KERNEL):
        layer.kernel = kernel
        given = maps.contiguous(memory_format=FORMATS[layout]).clone().requires_grad_()
        output = layer(given)
        assert output.dtype is given.dtype
        pull = torch.randn(output.shape, generator=generator.manual_seed(1)).to(output.dtype)
        output.backward(pull)  # in another memory format than the maps
        assert given.grad is not None
        found += [output.detach(), given.grad.double()]

    plain, to_maps, output, mine = found
    same = output.stride() == plain.stride() and torch.equal(output.isnan(), plain.isnan())
    same = same and torch.equal(output.nan_to_num(7), plain.nan_to_num(7))
    return [same, largest(mine, to_maps) if len(maps) else 0.0]


def pooled_with_gaps() -> list[bool]:
    """Return whether parts of larger tensors, and more units than a program has, are as torch's."""
    layer, found = MaxPool2d(Window(3, 2)), []
    for maps in (torch.randn(2, 12, 9, 11)[:, ::2], torch.randn(3, 8, 23, 31)):
        layer.kernel = None
        plain = layer(maps)
        layer.kernel = triton_pool.KERNEL
        found.append(torch.equal(layer(maps), plain))
    assert 4 * plain.numel() > 3 * triton_pool.BYTES_PER_PROGRAM
    return found


def counted_in_64_bits() -> list[float]:
    """Return the differences that it makes to count as for more numbers than 32 bits can."""
    maps = torch.randn(2, 16, 7, 7)
    found = list[Tensor]()
    for most in (2**31 - 1, 0):
        triton_launch.MOST_INT32 = most
        for layout in FORMATS.values():
            given = maps.contiguous(memory_format=layout).requires_grad_()
            norm, pool = LocalResponseNorm(5, 1e-2), MaxPool2d(Window(3, 2))
            norm.kernel, pool.kernel = triton_norm.KERNEL, triton_pool.KERNEL
            output = pool(norm(given))
            found += [output.detach(), *torch.autograd.grad(output.square().sum(), given)]
    return [float((a - b).abs().max()) for a, b in zip(found[:4], found[4:], strict=True)]


def with_gaps() -> float:
    """Return the difference for maps that are a part of a larger tensor."""
    maps = torch.randn(2, 12, 4, 5)[:, ::2]
    layer = LocalResponseNorm(5, 1e-2)
    plain = layer(maps)
    layer.kernel = triton_norm.KERNEL
    return float((layer(maps) - plain).abs().max())


def many_programs() -> float:
    """Return the difference for more units than one program has, the last program not full."""
    maps = torch.randn(3, 8, 11, 13)
    assert maps.numel() > 3 * triton_norm.UNITS_PER_PROGRAM
    layer = LocalResponseNorm(5, 1e-2, groups=2)
    plain = layer(maps)
    layer.kernel = triton_norm.KERNEL
    return float((layer(maps) - plain).abs().max())


def trained() -> dict[str, list[float]]:
    """Return the losses of three updates of a narrow AlexNet of two towers, by both kernels."""
    from tests.pretended.runs import NARROW, PATTERNS, Training

    words = (*PATTERNS, *NARROW, "optimizer=sgd_2012", "model=alexnet_two_tower")
    found = {}
    for name in kernels.KERNELS:
        run = Training.start((*words, f"runtime.kernels={name}"), "cpu")
        run.train(3)
        found[name] = [float(loss) for loss in run.losses]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        json.dumps(
            {
                "cases": {name: differences(*case) for name, case in cases().items()},
                "taken as runs": sum(TAKEN),
                "gaps": with_gaps(),
                "many programs": many_programs(),
                "pooled": {", ".join(case): pooled(*case) for case in pooling_cases()},
                "pooled with gaps": pooled_with_gaps(),
                "trained": trained(),
                "in 64 bits": counted_in_64_bits(),
            }
        )
    )
