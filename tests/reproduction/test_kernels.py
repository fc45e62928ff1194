"""Colored kernels: a split by towers is told from one by chance."""

import pytest
import torch

from cnnlab.reproduction.kernels import color_split


def kernels(num_gray: int, num_colored: int) -> torch.Tensor:
    """Kernels [N,3,2,2]: first those whose channels are equal, then those of one channel alone."""
    gray = torch.ones(num_gray, 3, 2, 2)
    colored = torch.zeros(num_colored, 3, 2, 2)
    colored[:, 0] = 1
    return torch.cat([gray, colored])


def test_a_gray_and_a_colored_tower_differ_more_than_random_halves() -> None:
    assert color_split(kernels(24, 24)) > 0.6  # chroma 0 against sqrt(2/3), by chance about 0.09


def test_towers_with_equally_many_colored_kernels_do_not() -> None:
    mixed = kernels(24, 24)[torch.arange(48).reshape(2, 24).T.flatten()]
    assert color_split(mixed) == pytest.approx(-0.09, abs=0.03)
