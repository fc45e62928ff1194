"""How Triton's kernels are launched, and when their numbers are counted in 64 bits.

Needs no Triton by itself, but only the modules with its kernels import this one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

OPTIONS: dict[str, Any] = {"enable_fp_fusion": True}
"""Triton's default so far, said because it warns where nobody says it."""

MOST_INT32 = 2**31 - 1


def is_large(number: int) -> bool:
    """Return whether so many numbers are more than 32 bits count."""
    return number > MOST_INT32


def launch(kernel: Any, num_programs: int, tensors: Sequence[Tensor], *settings: object) -> None:
    """Run so many programs on the device of the tensors: Triton by itself takes the current one.

    None runs nothing: an empty tensor has no program.
    """
    if num_programs > 0:
        with torch.cuda.device_of(tensors[0]):
            kernel[(num_programs,)](*tensors, *settings, **OPTIONS)
