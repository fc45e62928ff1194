"""Every network is one graph to torch.compile, and the graph computes what the network does."""

import pytest
import torch

from cnnlab.compiling import check, compiled
from cnnlab.config.models import MODELS
from cnnlab.training import losses
from tests.compilers import needs_compiler

SMALLEST = dict.fromkeys(
    ("alexnet", "alexnet_two_tower", "alexnet_two_gpu", "alexnet_2014", "zfnet"), 64
)
CHANGES = {"alexnet_two_gpu": {"devices": ["cpu", "cpu"]}, "zfnet": {"width": 0.25}}
NETWORKS = sorted(MODELS)
QUICK = ("alexnet_two_tower", "cifar_11pct", "lenet5", "lenet5_1998")
"""Normalization over and within maps, fused layers, layers of 1998."""


def network_of(build, name):
    network = build(name, size=SMALLEST.get(name), classes=10, **CHANGES.get(name, {}))
    return network.to(memory_format=torch.channels_last).train()


def batch_of(network, num_images):
    side = network.input_size_pixels
    generator = torch.Generator().manual_seed(num_images)
    images = torch.randn(num_images, network.in_channels, side, side, generator=generator)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(num_images) % 10


def loss_and_gradients(compute, network, batch):
    network.zero_grad()
    torch.default_generator.manual_seed(5)  # the same units are dropped
    loss = compute(network, *batch)
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in network.parameters()]


def compute_loss(network, images, labels):
    return losses.cross_entropy(network(images), labels)


def assert_same(found, expected):
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    for mine, theirs in zip(found[1], expected[1], strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def test_every_network_is_one_graph(build, name):
    network = network_of(build, name)
    check(network)
    torch.compiler.reset()
    traced = torch.compile(compute_loss, fullgraph=True, dynamic=False, backend="eager")
    batch = batch_of(network, 2)
    found = loss_and_gradients(traced, network, batch)
    assert_same(found, loss_and_gradients(compute_loss, network, batch))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_networks_have_the_values_gradients_and_dropped_units_of_plain_ones(build, name):
    network = network_of(build, name)
    fast = compiled(compute_loss)
    for num_images in (4, 3, 4):  # a short last batch between two whole ones
        batch = batch_of(network, num_images)
        found = loss_and_gradients(fast, network, batch)
        assert_same(found, loss_and_gradients(compute_loss, network, batch))
