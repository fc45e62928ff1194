"""Filters of convolutions that exceed a root mean square are scaled to it after each update."""

import pytest
import torch
from torch import Tensor

from cnnlab.training.filter_clip import clip_filters

LIMIT = 0.1


def rms(weight: Tensor) -> Tensor:
    return weight.flatten(1).square().mean(1).sqrt()


@pytest.fixture(params=[torch.float32, torch.float64])
def filters(request: pytest.FixtureRequest) -> Tensor:
    """Five filters: zeros, two below the limit, two above it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, 4, 4, generator=generator, dtype=request.param)
    sizes = torch.tensor([0.0, 0.01, 0.099, 0.101, 70.0], dtype=request.param)
    return weight * (sizes / rms(weight))[:, None, None, None]


def test_larger_filters_get_the_limit_and_the_others_keep_every_bit(filters: Tensor) -> None:
    clipped = filters.clone()
    clip_filters(clipped, LIMIT)

    assert torch.equal(clipped[:3], filters[:3])
    assert rms(clipped)[3:].tolist() == pytest.approx([LIMIT, LIMIT], rel=1e-6)
    directions = torch.nn.functional.cosine_similarity(
        clipped[3:].flatten(1), filters[3:].flatten(1)
    )
    assert directions.tolist() == pytest.approx([1, 1])


def test_clipping_again_changes_no_bit(filters: Tensor) -> None:
    clip_filters(filters, LIMIT)
    once = filters.clone()
    clip_filters(filters, LIMIT)

    assert torch.equal(filters, once)


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (60, 5, 5), (120, 400)])
def test_a_row_is_a_filter_whatever_its_shape(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    clip_filters(weight, LIMIT)

    assert rms(weight).tolist() == pytest.approx([LIMIT] * len(weight), rel=1e-5)
