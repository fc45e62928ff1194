"""LeNet-5 as it is built today."""

import pytest
import torch
from torch import nn

from cnnlab.errors import UsageError


def parameters(network):
    return {
        layer.name: sum(p.numel() for p in layer.module.parameters())
        for layer in network.layers
        if layer.role in ("conv", "fc")
    }


def test_every_layer_has_the_parameters_of_the_table(build):
    counts = parameters(build("lenet5"))
    assert counts == {"c1": 156, "c3": 2416, "c5": 48120, "f6": 10164, "output": 850}
    assert sum(counts.values()) == 61_706


def test_maps_have_the_published_sizes(build):
    network = build("lenet5")
    maps = network.activations(torch.zeros(1, 1, 32, 32), ["c1", "s2", "c3", "s4", "c5", "f6"])
    assert {name: tuple(map_.shape[1:]) for name, map_ in maps.items()} == {
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120, 1, 1),
        "f6": (84,),
    }


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_activation_after_max_pooling_gives_the_values_and_gradients_of_before(build, activation):
    network = build("lenet5", activation=activation, size=20).double()
    swapped = [layer.module for layer in network.layers]
    swapped[1], swapped[2] = swapped[2], swapped[1]  # c1 -> activation -> s2, as in the paper
    swapped[4], swapped[5] = swapped[5], swapped[4]
    images = torch.randn(3, 1, 20, 20, dtype=torch.float64, requires_grad=True)
    scores = network(images)
    (gradient,) = torch.autograd.grad(scores.square().sum(), images)
    paper_scores = nn.Sequential(*swapped)(images)
    (paper_gradient,) = torch.autograd.grad(paper_scores.square().sum(), images)
    assert torch.equal(scores, paper_scores)
    assert torch.equal(gradient, paper_gradient)


def test_average_pooling_has_the_activation_before_it(build):
    names = [layer.name for layer in build("lenet5", pooling="average", activation="tanh").layers]
    assert names[:3] == ["c1", "tanh1", "s2"]


def test_c5_covers_what_other_input_sizes_leave(build):
    assert build("lenet5", size=28).c5.weight.shape == (120, 16, 4, 4)
    assert build("lenet5", size=64)(torch.zeros(1, 1, 64, 64)).shape == (1, 10)


def test_too_small_an_input_is_refused_with_the_arithmetic(build):
    with pytest.raises(UsageError, match="c3 output would be 0x0 for a 11-pixel input"):
        build("lenet5", size=11)
    with pytest.raises(UsageError, match="the smallest is 16"):
        build("lenet5", size=11)
    assert build("lenet5", size=16)(torch.zeros(1, 1, 16, 16)).shape == (1, 10)


def test_dropout_sits_on_the_outputs_of_c5_and_f6(build):
    roles = [layer.role for layer in build("lenet5", dropout=0.5).layers]
    assert roles[-7:] == ["rectifier", "flatten", "dropout", "fc", "rectifier", "dropout", "fc"]
    assert "dropout" not in [layer.role for layer in build("lenet5").layers]
