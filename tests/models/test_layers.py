"""Convolutions that hang over the edge, whole-map convolutions, the two forms of dropout."""

import pytest
import torch
from torch import nn

from cnnlab.geometry import Window
from cnnlab.models.layers import Conv2d, ScaledDropout, WholeMapConv2d, window_of
from tests.reference import models as reference


def filled(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer.double()


@pytest.mark.parametrize("size", [12, 13, 14, 15])
def test_ceil_convolution_equals_windows_clipped_to_the_image(size):
    layer = filled(Conv2d(1, 1, Window(5, stride=4, ceil=True)))
    images = torch.randn(1, 1, size, size, dtype=torch.float64)
    clipped = reference.clipped_convolution(images[0, 0], layer.weight[0, 0], 4) + layer.bias
    assert torch.allclose(layer(images)[0, 0], clipped, rtol=0, atol=1e-12)


def test_ceil_convolution_passes_gradcheck():
    layer = filled(Conv2d(2, 3, Window(3, stride=2, ceil=True)))
    images = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, images)


def test_whole_map_convolution_is_the_same_convolution():
    window = Window(5)
    product, convolution = WholeMapConv2d(16, 120, window).double(), filled(Conv2d(16, 120, window))
    product.load_state_dict(convolution.state_dict())
    maps = torch.randn(4, 16, 5, 5, dtype=torch.float64)
    assert torch.allclose(product(maps), convolution(maps), rtol=0, atol=1e-10)
    rows = maps.to(memory_format=torch.channels_last)
    assert torch.allclose(product(rows), convolution(maps), rtol=0, atol=1e-10)
    product.to(memory_format=torch.channels_last)
    for same in (maps, rows):
        assert torch.allclose(product(same), convolution(maps), rtol=0, atol=1e-10)


def test_uninitialized_weights_are_nan_and_leave_the_global_state_alone():
    before = torch.random.get_rng_state()
    layer = Conv2d(1, 2, Window(3))
    assert layer.weight.isnan().all()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_of_the_paper_thins_in_training_and_halves_at_test():
    units = torch.ones(200, 500)
    layer = ScaledDropout(0.5)
    thinned = layer(units)
    assert set(thinned.unique().tolist()) == {0.0, 1.0}
    assert abs(thinned.mean().item() - 0.5) < 0.01
    assert layer.eval()(units).unique().tolist() == [0.5]


def test_dropout_of_the_paper_agrees_with_torchs_up_to_scale():
    units = torch.randn(2000, 10)
    paper, inverted = ScaledDropout(0.25).eval(), nn.Dropout(0.25).eval()
    assert torch.allclose(paper(units), 0.75 * inverted(units))


def test_window_of_reads_torchs_own_layers():
    assert window_of(nn.Conv2d(1, 1, 5, 2, 1)) == Window(5, 2, 1)
    assert window_of(nn.MaxPool2d(3, 2, ceil_mode=True)) == Window(3, 2, ceil=True)
    assert window_of(nn.AvgPool2d(2)) == Window(2, 2)
    assert window_of(nn.ReLU()) is None
