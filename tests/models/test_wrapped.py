"""Any nn.Module as a Network: its layers, roles, fields, weights and modes."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.models.network import Network, Task
from cnnlab.models.summary import summarize
from cnnlab.models.wrapped import WrappedNetwork, wrap
from cnnlab.visualization.deconvnet import project

TASK = Task(3, 16, 5)


class Block(nn.Module):
    def __init__(self, maps: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 5, padding=2)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        return self.relu(maps + self.conv2(self.relu(self.norm(self.conv1(maps)))))


class Net(nn.Module):
    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.functional = functional
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding="valid" if functional else 1)
        self.block = Block(4)
        self.layers = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.5))
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        if self.functional:
            maps = F.relu(maps)
        return self.head(self.layers(self.block(maps)).mean((2, 3)))


@pytest.fixture
def network() -> WrappedNetwork:
    torch.manual_seed(0)
    return wrap(Net(), TASK, "own")


def test_the_layers_are_the_parts_in_the_order_of_their_last_call(network: WrappedNetwork) -> None:
    roles = {layer.name: layer.role for layer in network.layers}
    assert roles == {
        "stem": "conv",
        "block.conv1": "conv",
        "block.norm": "batch_norm",
        "block.conv2": "conv",
        "block.relu": "rectifier",
        "layers.0": "pool",
        "layers.1": "dropout",
        "head": "fc",
    }
    assert network.weighted == ("stem", "block.conv1", "block.norm", "block.conv2", "head")


def test_fields_go_through_additions_and_a_mean_sees_all(network: WrappedNetwork) -> None:
    fields = network.receptive_fields
    sizes = {name: (field.size_pixels, field.jump_pixels) for name, field in fields.items()}
    # 3, then 2 jumps of 2 pixels, then 4 more; the shortcut's smaller field is inside
    assert [sizes[name] for name in ("stem", "block.conv1", "block.relu", "layers.0", "head")] == [
        (3, 2),
        (7, 2),
        (15, 2),
        (17, 4),
        (16, 0),
    ]


def test_a_chain_has_the_fields_that_its_list_of_layers_gives(build) -> None:
    listed: Network = build("lenet5")
    task = listed.task
    chain = nn.Sequential()
    for layer in listed.layers:
        chain.add_module(layer.name, layer.module)
    found = wrap(chain, task, "chain")
    by_matrix_product = ("c5", "relu5")  # one unit: it has no neighbor to be a jump away from
    for name, field in listed.receptive_fields.items():
        seen = found.receptive_fields[name]
        assert seen == field or (
            name in by_matrix_product and seen.size_pixels == field.size_pixels
        )
    for row, other in zip(summarize(found).rows, summarize(listed).rows, strict=True):
        assert replace(row, jump_pixels=0) == replace(other, jump_pixels=0, role=row.role)
    images = torch.randn(2, task.in_channels, 32, 32)
    assert torch.equal(found.eval()(images), listed.eval()(images))


def test_its_weights_have_the_names_of_the_module_and_are_the_same(network) -> None:
    module = network._whole
    assert list(network.state_dict()) == list(module.state_dict())
    with torch.no_grad():
        network.head.weight.zero_()
    assert module.head.weight.abs().sum() == 0
    network.double()
    assert module.stem.weight.dtype == torch.float64


def test_a_copy_is_a_network_of_its_own(network) -> None:
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.head.bias.fill_(7)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(other.eval()(images), other._whole(images))
    assert not torch.equal(other(images), network.eval()(images))


def test_modes_and_frozen_layers_reach_the_module(network) -> None:
    network.freeze(["stem", "block.norm"])
    network.train()
    module = network._whole
    assert module.training
    assert module.layers[1].training
    assert not module.block.norm.training
    assert not module.stem.weight.requires_grad
    network.eval()
    assert not module.training
    assert not module.layers[1].training


def test_activations_are_what_the_layers_return(network) -> None:
    images = torch.randn(2, 3, 16, 16)
    network.eval()
    found = network.activations(images)
    assert torch.equal(found["head"], network(images))
    block = network._whole.block
    maps = block.norm(block.conv1(found["stem"])).relu()
    assert torch.equal(found["block.relu"], (found["stem"] + block.conv2(maps)).relu())
    with pytest.raises(UsageError, match="no layer 'conv7'"):
        network.activations(images, ["conv7"])


def test_signals_of_the_deconvnet_pass_through_branches(network) -> None:
    images, units = torch.randn(2, 3, 16, 16), torch.tensor([1, 3])
    gradient = project(network, images, "block.relu", units, "gradient")
    pixels = images.clone().requires_grad_()
    maps = network.eval().activations(pixels, ["block.relu"])["block.relu"]
    chosen = maps.flatten(2)[torch.arange(2), units].max(1).values.sum()
    assert torch.allclose(gradient, torch.autograd.grad(chosen, pixels)[0])
    guided = project(network, images, "block.relu", units, "guided")
    assert guided.isfinite().all()
    assert not torch.allclose(guided, gradient)


def test_a_rule_for_rectifiers_is_refused_where_one_is_no_layer() -> None:
    network = wrap(Net(functional=True), TASK, "own")
    images, units = torch.randn(1, 3, 16, 16), torch.tensor([0])
    with pytest.raises(UsageError, match="signal=deconvnet changes the backward pass"):
        project(network, images, "head", units)
    assert project(network, images, "head", units, "gradient").shape == images.shape


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0])[:, 0]


def test_a_module_whose_parts_are_not_called_is_one_layer() -> None:
    network = wrap(Attending(), TASK, "own")
    rows = {row.name: row for row in summarize(network).rows}
    assert list(rows) == ["patches", "attention", "head"]
    assert rows["attention"].role == "other"
    assert rows["attention"].output_size == [16, 8]
    assert rows["head"].num_multiply_adds == 16 * 8 * 5  # for each token
    total = sum(parameter.numel() for parameter in network.parameters())
    assert summarize(network).num_parameters == total


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.out = nn.Parameter(torch.ones(1)), nn.Linear(768, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(images.flatten(1)) * self.scale


def test_a_network_with_parameters_at_its_top_is_one_layer() -> None:
    network = wrap(Scaled(), TASK, "own")
    assert [(layer.name, layer.role) for layer in network.layers] == [("network", "other")]
    assert list(network.state_dict()) == ["network.scale", "network.out.weight", "network.out.bias"]
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


def test_formulas_are_of_what_a_layer_has(network) -> None:
    rows = {row.name: row for row in summarize(network).rows}
    assert rows["block.conv1"].parameter_formula == "4·4·3² = 144"
    assert rows["block.conv2"].parameter_formula == "4·4·5² + 4 = 404"
    wide = wrap(
        nn.Sequential(nn.Conv2d(3, 5, (3, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()), TASK, "own"
    )
    first = summarize(wide).rows[0]
    assert (first.parameter_formula, first.size_formula) == ("5·3·3·1 + 5 = 50", "")


def test_weights_without_values_are_refused_for_the_caller_to_build_in_full() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    with pytest.raises(TypeError, match="need values"):
        wrap(module, TASK, "own")
