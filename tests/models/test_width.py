"""Narrower and wider networks of the same depth: `model.width`."""

import pytest
import torch

from cnnlab import models
from cnnlab.config.models import MODELS, ScalableConfig
from cnnlab.errors import UsageError
from cnnlab.models.summary import summarize
from cnnlab.models.widths import scaled

SMALL = {"channels": 1, "size": 64, "classes": 10}
CPUS = {"devices": ["cpu", "cpu"]}
SCALABLE = sorted(
    name for name, row in MODELS.items() if issubclass(row.config_class, ScalableConfig)
)


def options(name):
    return CPUS if name == "alexnet_two_gpu" else {}


def counts(network):
    """Return the outputs of every layer with weights but the scores, which are the classes'."""
    weights = {name: value for name, value in network.state_dict().items() if "weight" in name}
    return [len(value) for value in weights.values()][:-1]


@pytest.mark.parametrize("name", ["alexnet", "alexnet_two_tower", "alexnet_two_gpu"])
def test_an_alexnet_of_a_quarter_has_a_quarter_of_each_layer(build, name):
    network = build(name, **SMALL, width=0.25, **options(name))
    assert counts(network) == [24, 64, 96, 96, 64, 1024, 1024]


@pytest.mark.parametrize(
    ("name", "width", "wanted"),
    [
        ("alexnet_2014", 0.25, [16, 48, 96, 64, 64, 1024, 1024]),
        ("alexnet_cifar", 0.5, [32, 96, 192, 128, 128, 512, 512]),
        ("lenet5", 0.5, [3, 8, 60, 42]),
        ("lenet5", 2, [12, 32, 240, 168]),
        ("four_layer", 0.25, [8, 8, 16]),
    ],
)
def test_every_count_is_multiplied(build, name, width, wanted):
    assert counts(build(name, **SMALL, width=width)) == wanted


@pytest.mark.parametrize("width", [0.0625, 0.1, 0.3, 0.33, 0.75])
@pytest.mark.parametrize("name", ["alexnet", "alexnet_two_tower", "alexnet_two_gpu"])
def test_the_towers_are_even_at_every_width(build, name, width):
    network = build(name, **SMALL, width=width, **options(name))
    assert all(count % 2 == 0 for count in counts(network))
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 10)


def test_the_split_network_equals_the_grouped_one_at_a_quarter(build):
    grouped = build("alexnet_two_tower", **SMALL, width=0.25).double().eval()
    split = build("alexnet_two_gpu", **SMALL, width=0.25, **CPUS).to(torch.float64).eval()
    images = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(split(images), grouped(images), rtol=1e-12)
    assert split.state_dict().keys() == grouped.state_dict().keys()


@pytest.mark.parametrize("name", SCALABLE)
def test_the_table_of_a_narrow_network_counts_what_is_there(build, name):
    narrow, whole = (build(name, **SMALL, width=w, **options(name)) for w in (0.25, 1.0))
    summary = summarize(narrow)
    assert summary.num_parameters == sum(p.numel() for p in narrow.parameters())
    assert narrow.receptive_fields == whole.receptive_fields
    of_whole = [row.output_size[1:] for row in summarize(whole).rows]
    assert [row.output_size[1:] for row in summary.rows if len(row.output_size) > 1] == [
        size for size in of_whole if size
    ]
    for row in summary.rows:
        if row.parameter_formula:
            assert row.parameter_formula.endswith(f"= {row.num_parameters:,}")


def test_no_layer_is_left_without_a_unit():
    assert scaled(6, 0.0625) == 1
    assert scaled(96, 0.001, 2) == 2
    assert scaled(84, 0.5) == 42


def test_models_whose_counts_are_their_own_settings_have_no_width(configure):
    with pytest.raises(UsageError, match="width"):
        configure("mlp", width=0.5)
    with pytest.raises(UsageError, match=r"width must be a number at least 0\.0625"):
        configure("lenet5", width=0.0)


def test_a_narrow_network_on_two_devices_is_one_on_one_device(configure):
    config = configure("alexnet_two_gpu", width=0.25, **CPUS)
    assert models.on_one_device(config).width == 0.25
