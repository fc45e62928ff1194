"""Compare the Triton normalization with the formula in float64, in Triton's interpreter.

Run by tests/models/test_norm_kernels.py in a process of its own: TRITON_INTERPRET=1 is read when
Triton is imported. It prints, as JSON, {case: [largest differences, relative to the largest value,
of the maps and of the gradients]}, and of a training what `trained` returns.
"""

import json
from itertools import product

import torch
from torch import Tensor

from cnnlab.models import norm_kernels, triton_norm
from cnnlab.models.normalization import LocalResponseNorm
from tests.reference import models as reference

SHAPES = {"odd": (3, 6, 5, 7), "one unit a map": (2, 10, 1, 1), "none": (0, 6, 3, 3)}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
CONSTANTS = {
    "paper": (5, 1e-4, 0.75, 2.0),
    "source": (5, 1e-4 / 5, 0.75, 2.0),
    "cifar": (9, 1e-3 / 9, 0.75, 1.0),
    "other power": (3, 1e-3, 0.6, 2.0),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def cases() -> dict[str, tuple[str, ...]]:
    """Return the cases by name: all of shape, format and towers; then constants, then dtypes."""
    found = list(product(SHAPES, FORMATS, ("1", "2"), ("paper",), ("float32",)))
    found += list(product(("odd",), ("last",), ("2",), CONSTANTS, ("float32",)))
    found += list(product(("odd",), FORMATS, ("1",), ("paper",), DTYPES))
    return {", ".join(case): case for case in found}


def differences(shape: str, layout: str, groups: str, constants: str, dtype: str) -> list[float]:
    size, alpha, beta, k = CONSTANTS[constants]
    generator = torch.Generator().manual_seed(0)
    maps = 40 * torch.randn(SHAPES[shape], generator=generator, dtype=torch.float64)
    pull = torch.randn(maps.shape, generator=generator, dtype=torch.float64).to(DTYPES[dtype])
    given = maps.to(DTYPES[dtype]).contiguous(memory_format=FORMATS[layout]).requires_grad_()
    exact = given.detach().double().requires_grad_()

    layer = LocalResponseNorm(size, alpha, beta, k, int(groups))
    layer.kernel = triton_norm.KERNEL
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
    for kernel in norm_kernels.KERNELS:
        run = Training.start((*words, f"runtime.lrn_kernel={kernel}"), "cpu")
        run.train(3)
        found[kernel] = [float(loss) for loss in run.losses]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        json.dumps(
            {
                "cases": {name: differences(*case) for name, case in cases().items()},
                "gaps": with_gaps(),
                "many programs": many_programs(),
                "trained": trained(),
            }
        )
    )
