"""Building by name: seeds, own models, the list of layers."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from cnnlab import models
from cnnlab.config.models import MODELS, ModelChoice, ModelConfig
from cnnlab.errors import UsageError
from cnnlab.models import Layer, Network

SMALL = {name: {"size": 64, "classes": 10} if name.startswith("alexnet") else {} for name in MODELS}
SMALL["alexnet_two_gpu"]["devices"] = ["cpu", "cpu"]
SMALL["zfnet"] = {"size": 64, "classes": 10, "width": 0.25}


@pytest.mark.parametrize("name", MODELS)
def test_one_step_runs_and_moves_every_weight(build, name):
    network = build(name, **SMALL[name])
    images = torch.randn(4, network.in_channels, *[network.input_size_pixels] * 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    labels = torch.arange(4) % network.num_classes
    loss = nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    assert loss.isfinite()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    fixed = dict(network.named_buffers())
    still = [key for key in after if torch.equal(after[key], before[key])]
    assert still == [key for key in fixed if key in after]


@pytest.mark.parametrize("name", MODELS)
def test_layers_one_after_another_are_the_network_and_name_the_weights(build, name):
    network = build(name, **SMALL[name]).eval()
    images = torch.randn(2, network.in_channels, *[network.input_size_pixels] * 2)
    maps = network._enter(images)
    for layer in network.layers:
        maps = layer.module(maps)
    assert torch.equal(maps, network(images))
    names = {layer.name for layer in network.layers}
    assert {key.split(".")[0] for key in network.state_dict()} <= names
    assert {key.count(".") for key in network.state_dict()} == {1}


def test_same_seed_gives_same_weights_whatever_the_global_state(build):
    torch.manual_seed(1)
    one = build("lenet5", seed=3)
    torch.manual_seed(2)
    two, other = build("lenet5", seed=3), build("lenet5", seed=4)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))
    assert not torch.equal(one.c1.weight, other.c1.weight)


def test_building_leaves_the_global_state_alone(build):
    before = torch.random.get_rng_state()
    build("mlp")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_activations_returns_the_named_layers_in_order_and_refuses_others(build):
    network = build("lenet5").eval()
    images = torch.randn(2, 1, 32, 32)
    found = network.activations(images, ["f6", "c1"])
    assert list(found) == ["c1", "f6"]
    assert torch.equal(network.activations(images)["output"], network(images))
    with pytest.raises(UsageError, match="no layer 'c7'"):
        network.activations(images, ["c7"])


def test_an_unknown_name_and_impossible_tasks_are_refused(build, configure):
    unknown = ModelConfig(name="lenet6")
    with pytest.raises(UsageError, match="lenet6"):
        models.build(unknown, in_channels=1, input_size_pixels=32, num_classes=10, seed=0)
    with pytest.raises(UsageError, match="num_classes of at least 2, got 1"):
        build("linear", classes=1)


def test_a_model_of_your_own_is_built_by_name_and_seeded():
    """The documented example: a module listed in `plugins` runs these lines when imported."""

    @dataclass(kw_only=True)
    class WideConfig(ModelConfig):
        width: int

    def wide(config, task, generator):
        features = task.in_channels * task.input_size_pixels**2
        layers = [
            Layer("flatten", "flatten", nn.Flatten()),
            Layer("fc1", "fc", nn.Linear(features, config.width)),  # torch's own initialization
            Layer("relu1", "rectifier", nn.ReLU()),
            Layer("output", "fc", nn.Linear(config.width, task.num_classes)),
        ]
        return Network(layers, task)

    MODELS.register("wide", ModelChoice(WideConfig, wide, usual_input=(1, 28, 10)))
    try:
        config = WideConfig(name="wide", width=7)
        shape = {"in_channels": 1, "input_size_pixels": 28, "num_classes": 10}
        one, two = (models.build(config, seed=5, **shape) for _ in range(2))
        assert torch.equal(one.fc1.weight, two.fc1.weight)
        assert one(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
        with pytest.raises(UsageError, match="is built in"):
            MODELS.register("lenet5", ModelChoice(WideConfig, wide))
    finally:
        MODELS.remove("wide")
