"""Local response normalization, against the formula, torch's layer and numeric gradients."""

import pytest
import torch
from torch import nn

from cnnlab.models.normalization import LocalResponseNorm, WithinMapNorm, across_maps, window_sum
from tests.reference import models as reference


def maps_like_the_network(channels=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return 40 * torch.randn(3, channels, 5, 4, generator=generator, dtype=dtype)


@pytest.mark.parametrize("towers", [1, 2])
def test_values_and_gradients_equal_the_plain_formula_in_float32(towers):
    maps = maps_like_the_network().requires_grad_()
    plain = maps.detach().double().requires_grad_()
    pull = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    fast = LocalResponseNorm(5, 1e-4, groups=towers)(maps)
    slow = reference.response_norm(plain, 5, 1e-4, 0.75, 2.0, towers)
    fast.backward(pull)
    slow.backward(pull.double())
    assert relative(fast, slow) < 1e-5
    assert relative(maps.grad, plain.grad) < 1e-5


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_expression_for_compilers_has_the_values_and_gradients_of_the_layer(size):
    maps = maps_like_the_network(dtype=torch.float64)
    layer, results = LocalResponseNorm(size, 1e-3, groups=2), []
    for compute in (layer, lambda maps: across_maps(split(maps), size, 1e-3, 0.75, 2.0)):
        inputs = maps.clone().requires_grad_()
        output = compute(inputs).flatten()
        output.backward(torch.linspace(-1, 1, len(output), dtype=torch.float64))
        results.append((output, inputs.grad))
    for mine, theirs in zip(*results, strict=True):
        assert relative(mine, theirs) < 1e-13


def split(maps):
    return maps.unflatten(1, (2, -1))


def test_source_scaling_equals_torchs_layer_and_the_papers_is_five_times_that():
    maps = maps_like_the_network(dtype=torch.float64)
    source, paper = LocalResponseNorm(5, 1e-4 / 5), LocalResponseNorm(5, 1e-4)
    assert relative(source(maps), nn.LocalResponseNorm(5, 1e-4, 0.75, k=2.0)(maps)) < 1e-12
    assert relative(paper(maps), nn.LocalResponseNorm(5, 5e-4, 0.75, k=2.0)(maps)) < 1e-12
    assert relative(paper(maps), source(maps)) > 1e-3


def test_windows_do_not_cross_the_border_between_towers():
    maps = maps_like_the_network()
    changed = maps.clone()
    changed[:, 8:] += 100
    layer = LocalResponseNorm(5, 1e-4, groups=2)
    assert torch.equal(layer(maps)[:, :8], layer(changed)[:, :8])
    assert not torch.equal(
        LocalResponseNorm(5, 1e-4)(maps)[:, :8], LocalResponseNorm(5, 1e-4)(changed)[:, :8]
    )


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("size", [3, 5])
def test_gradient_passes_gradcheck(size, beta):
    maps = torch.randn(2, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalResponseNorm(size, 0.1, beta, groups=2), maps)


def test_within_map_norm_equals_the_loop_and_passes_gradcheck():
    maps = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    layer = WithinMapNorm(5, 0.2)
    assert relative(layer(maps), reference.within_map_norm(maps, 5, 0.2, 0.75, 1.0)) < 1e-12
    assert torch.autograd.gradcheck(layer, maps)


def test_half_precision_is_normalized_in_float32():
    maps = maps_like_the_network().bfloat16()
    for layer in (LocalResponseNorm(5, 1e-4), WithinMapNorm(5, 1e-3 / 25)):
        assert layer(maps).dtype == torch.bfloat16
        assert torch.equal(layer(maps), layer(maps.float()).bfloat16())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_of_the_maps_is_kept(layout):
    maps = maps_like_the_network().contiguous(memory_format=layout)
    for groups in (1, 2):
        normalized = LocalResponseNorm(5, 1e-4, groups=groups)(maps)
        assert (
            relative(normalized, reference.response_norm(maps, 5, 1e-4, 0.75, 2.0, groups)) < 1e-5
        )
        assert normalized.is_contiguous(memory_format=layout)


def test_window_sum_is_shorter_at_the_first_and_last_map():
    maps = torch.ones(1, 6, 1, 1)
    assert window_sum(maps, 5).flatten().tolist() == [3, 4, 5, 5, 4, 3]


def relative(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()
