"""Fused layers give the values and gradients of the layers one after the other."""

import pytest
import torch
from torch import nn

from cnnlab.cpu import fusion
from cnnlab.models.layers import ScaledDropout


def in_turn(modules, maps):
    for module in modules:
        maps = module(maps)
    return maps


def gradients_of(scores, inputs):
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1)).to(scores)
    return torch.autograd.grad((scores * weights).sum(), inputs)


def pooled_convolution(channels, maps, kernel, bias, layout=torch.channels_last):
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, maps, kernel, bias=bias, dtype=torch.float64)
    return [convolution.to(memory_format=layout), nn.MaxPool2d(2), nn.ReLU()]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("sizes", [(1, 6, 5, 32), (3, 6, 5, 14), (2, 8, 3, 8), (4, 1, 1, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_convolution_pooling_and_relu_equal_the_layers_in_turn(sizes, bias, layout):
    channels, num_maps, kernel, side = sizes
    modules = pooled_convolution(channels, num_maps, kernel, bias, layout)
    images = torch.randn(5, channels, side, side, dtype=torch.float64)
    images = images.contiguous(memory_format=layout).requires_grad_()
    inputs = [images, *modules[0].parameters()]
    fused = fusion.convolve_pool_rectify(images, modules)
    expected = in_turn(modules, images)
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-13)
    for mine, theirs in zip(
        gradients_of(fused, inputs), gradients_of(expected, inputs), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ceil_mode", [True, False])
def test_pooling_before_relu_changes_no_bit_and_no_gradient(ceil_mode):
    torch.manual_seed(0)
    modules = [nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=ceil_mode)]
    maps = torch.randn(4, 5, 10, 10).round(decimals=1).requires_grad_()  # rounded: equal units
    fused, expected = fusion.pool_and_rectify(maps, modules), in_turn(modules, maps)
    assert torch.equal(fused, expected)
    (mine,), (theirs,) = gradients_of(fused, [maps]), gradients_of(expected, [maps])
    assert torch.equal(mine, theirs)


def test_pooling_goes_before_relu_where_one_follows_the_other(build):
    names = [group.names for group in build("alexnet_2014", size=64)._fused_groups]
    assert names[:2] == [("conv1",), ("relu1", "pool1")]
    normalized = [group.names for group in build("alexnet", size=64)._fused_groups]
    assert normalized[:4] == [("conv1",), ("relu1",), ("norm1",), ("pool1",)]


@pytest.mark.parametrize("name", ["c1", "s2", "relu1", "c3"])
def test_a_hook_sees_its_layer(build, name):
    network = build("lenet5").to(memory_format=torch.channels_last)
    images, seen = torch.randn(3, 1, 32, 32), []
    expected = network(images)
    layer = network.get_submodule(name)
    handle = layer.register_forward_hook(lambda module, given, result: seen.append(result))
    torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(seen[0], network.activations(images, [name])[name])
    handle.remove()
    assert torch.equal(network(images), expected)


def test_a_map_of_odd_sides_is_pooled_as_before():
    modules = pooled_convolution(1, 6, 3, bias=True)
    images = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    fused = fusion.convolve_pool_rectify(images, modules)
    assert torch.equal(fused, in_turn(modules, images))


def test_of_equal_units_the_first_gets_the_gradient():
    modules = pooled_convolution(1, 1, 1, bias=False)
    with torch.no_grad():
        modules[0].weight.fill_(1)
    images = torch.ones(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    fusion.convolve_pool_rectify(images, modules).sum().backward()
    expected = torch.tensor([[1.0, 0], [0, 0]], dtype=torch.float64).repeat(2, 2)
    assert torch.equal(images.grad[0, 0], expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_few_maps_is_torchs(bias):
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 16, 5, bias=bias, dtype=torch.float64)
    maps = torch.randn(3, 6, 14, 14, dtype=torch.float64, requires_grad=True)
    inputs = [maps, *convolution.parameters()]
    mine, theirs = fusion.convolve_few_maps(maps, [convolution]), convolution(maps)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-13)
    for one, other in zip(gradients_of(mine, inputs), gradients_of(theirs, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_lenet5_with_its_fused_layers_on_a_cpu_equals_its_layers_in_turn(build):
    network = build("lenet5").to(memory_format=torch.channels_last)
    images = torch.randn(9, 1, 32, 32)
    names = [group.names for group in network._fused_groups]
    assert names[:3] == [("c1", "s2", "relu1"), ("c3",), ("s4",)]
    weights = list(network.parameters())
    scores, expected = network(images), network.activations(images)["output"]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    pairs = zip(gradients_of(scores, weights), gradients_of(expected, weights), strict=True)
    for mine, theirs in pairs:
        assert float((mine - theirs).norm() / theirs.norm()) < 2e-5


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv2d(1, 16, 5),
        nn.Conv2d(1, 6, 5, stride=2),
        nn.Conv2d(1, 6, 5, padding=1),
        nn.Conv2d(2, 6, 5, groups=2),
        ScaledDropout(0.5),
    ],
)
def test_other_layers_are_left_alone(first):
    modules = {"a": first, "b": nn.MaxPool2d(2), "c": nn.ReLU()}
    assert [len(group.names) for group in fusion.fused_groups(modules)] == [1, 1, 1]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, padding=1), nn.AvgPool2d(2)])
def test_other_poolings_are_left_alone(pool):
    modules = {"a": nn.Conv2d(1, 6, 5), "b": pool, "c": nn.ReLU()}
    assert [len(group.names) for group in fusion.fused_groups(modules)] == [1, 1, 1]


def test_half_precision_float64_and_tracing_take_the_plain_way():
    assert fusion.is_faster_for(torch.zeros(1, 1, 4, 4))
    assert not fusion.is_faster_for(torch.zeros(1, 1, 4, 4, dtype=torch.float64))
    assert not fusion.is_faster_for(torch.zeros(1, 1, 4, 4, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not fusion.is_faster_for(torch.zeros(1, 1, 4, 4))


def test_training_works_after_an_evaluation_in_inference_mode():
    modules = pooled_convolution(1, 2, 2, bias=True)
    images = torch.randn(2, 1, 5, 5, dtype=torch.float64)
    fusion._shifts.cache_clear()
    with torch.inference_mode():
        fusion.convolve_pool_rectify(images, modules)
    fusion.convolve_pool_rectify(images, modules).sum().backward()
    assert modules[0].weight.grad is not None
