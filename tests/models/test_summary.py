"""The lecture's table."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from cnnlab import models
from cnnlab.models import Layer, Network, Task
from cnnlab.models.alexnet import alexnet
from cnnlab.models.summary import summarize, summarize_unbuilt


def test_document_has_the_public_keys(build):
    document = summarize(build("lenet5"), "lenet5").as_document()
    assert document["model"] == "lenet5"
    assert document["input_size"] == [1, 32, 32]
    assert document["num_parameters"] == 61_706
    assert document["num_multiply_adds"] == 416_520
    assert document["layers"][0] == {
        "name": "c1",
        "role": "conv",
        "output_size": [6, 28, 28],
        "num_parameters": 156,
        "num_multiply_adds": 117_600,
        "receptive_field_pixels": 5,
        "jump_pixels": 1,
        "size_formula": "floor((32 + 2·0 - 1·(5 - 1) - 1)/1 + 1) = 28",
        "parameter_formula": "6·1·5² + 6 = 156",
    }


def test_formulas_end_in_the_figures_beside_them(build):
    for row in summarize(build("alexnet", size=64, classes=10)).rows:
        if row.parameter_formula:
            assert row.parameter_formula.endswith(f"= {row.num_parameters:,}")
        if row.size_formula:
            assert row.size_formula.endswith(f"= {row.output_size[1]}")


def test_summing_up_changes_neither_weights_nor_mode_nor_random_state(build):
    network = build("lenet5", dropout=0.5)
    before, state = network.state_dict(), torch.random.get_rng_state()
    before = {key: value.clone() for key, value in before.items()}
    summarize(network)
    assert network.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_table_is_the_same_before_and_after_a_training_step(build):
    network = build("lenet5")
    before = summarize(network)
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert summarize(network) == before


@pytest.mark.parametrize("name", models.MODELS)
def test_the_table_without_weights_is_that_of_the_built_network(build, name):
    changes = {"devices": ["cpu", "cpu"]} if name == "alexnet_two_gpu" else {}
    expected = summarize(build(name, **changes), name)
    assert summarize_unbuilt(lambda: build(name, **changes), name) == expected


@pytest.mark.parametrize("name", ["mlp", "lenet5", "alexnet", "alexnet_two_tower", "alexnet_2014"])
def test_the_table_needs_no_value_of_a_weight(build, name):
    built = []
    summarize_unbuilt(lambda: built.append(build(name)) or built[-1])
    assert len(built) == 1
    assert all(tensor.is_meta for tensor in [*built[0].parameters(), *built[0].buffers()])


def test_building_without_weights_uses_no_random_number(configure):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    with torch.device("meta"):
        alexnet(configure("alexnet"), Task(3, 224, 1000), generator)
    assert torch.equal(generator.get_state(), before)


def test_the_table_imports_no_compiler():
    """Which torch does for most operators on meta tensors, for more than a second."""
    words = ["summary", "model=alexnet", "format=json"]
    lines = f"import sys; from cnnlab.cli import main; code = main({words})"
    ends = "sys.exit(code or 'sympy' in sys.modules)"
    end = subprocess.run([sys.executable, "-c", f"{lines}; {ends}"], capture_output=True)
    assert end.returncode == 0, end.stderr


class ScaledByItsLargestWeight(nn.Linear):
    """A layer that needs the values of its weights to be built."""

    def __init__(self, features, units):
        super().__init__(features, units)
        self.scale = self.weight.abs().max().item()


def of_own_layers(*layers):
    return Network(
        [Layer(f"layer{number}", "conv", layer) for number, layer in enumerate(layers)],
        Task(3, 8, 10),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.PReLU()),
        lambda: (nn.ConvTranspose2d(3, 4, 3), nn.GroupNorm(2, 4)),
        lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3, stride=(2, 1))),),
        lambda: (nn.Conv2d(3, 4, (3, 1), groups=1, dilation=2), nn.Flatten(), nn.LazyLinear(5)),
        lambda: (nn.Flatten(), ScaledByItsLargestWeight(192, 10)),
        lambda: (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(12)),
    ],
)
def test_layers_of_any_kind_give_the_table_of_the_built_network(make):
    def build():
        return of_own_layers(*make())

    assert summarize_unbuilt(build) == summarize(build())


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (nn.Conv2d(4, 4, 3),),
        lambda: (nn.Conv2d(3, 4, 9),),
        lambda: (nn.Flatten(), nn.Linear(3, 10)),
    ],
)
def test_layers_that_do_not_fit_raise_what_torch_raises(layers):
    with pytest.raises(RuntimeError) as built:
        summarize(of_own_layers(*layers()))
    with pytest.raises(RuntimeError) as unbuilt:
        summarize_unbuilt(lambda: of_own_layers(*layers()))
    assert str(unbuilt.value) == str(built.value)
