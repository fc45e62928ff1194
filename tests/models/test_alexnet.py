"""AlexNet of 2012: the published table, the switches, what is refused."""

import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.models.summary import summarize

SMALL = {"size": 64, "classes": 10, "head": "single"}
"""Everything but the big fully connected layers."""

DENSE = {
    "conv1": 34_944,
    "conv2": 614_656,
    "conv3": 885_120,
    "conv4": 1_327_488,
    "conv5": 884_992,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "fc8": 4_097_000,
}


@pytest.fixture(scope="module")
def table(build):
    return summarize(build("alexnet"), "alexnet")


def test_every_layer_has_the_parameters_of_the_table(table):
    counts = {row.name: row.num_parameters for row in table.rows if row.role in ("conv", "fc")}
    assert counts == DENSE
    assert table.num_parameters == 62_378_344


def test_multiply_adds_are_1135_million(table):
    assert round(table.num_multiply_adds / 1e6, 1) == 1135.3


def test_maps_and_receptive_fields_are_those_of_the_paper(table):
    fields = {
        row.name: (
            row.output_size[0],
            row.output_size[1],
            row.receptive_field_pixels,
            row.jump_pixels,
        )
        for row in table.rows
        if row.role in ("conv", "pool")
    }
    assert fields == {
        "conv1": (96, 55, 11, 4),
        "pool1": (96, 27, 19, 8),
        "conv2": (256, 27, 51, 8),
        "pool2": (256, 13, 67, 16),
        "conv3": (384, 13, 99, 16),
        "conv4": (384, 13, 131, 16),
        "conv5": (256, 13, 163, 16),
        "pool5": (256, 6, 195, 32),
    }


@pytest.mark.parametrize(("geometry", "size"), [("224_ceil", 224), ("227", 227), ("224_pad2", 224)])
def test_each_geometry_gives_55_27_13_6(build, geometry, size):
    summary = summarize(build("alexnet", size=size, classes=10, head="single", geometry=geometry))
    sides = [row.output_size[1] for row in summary.rows if row.role in ("conv", "pool")]
    assert sides == [55, 27, 27, 13, 13, 13, 13, 6]


def test_pooling_without_overlap_has_the_authors_paddings_and_6x6(build):
    summary = summarize(build("alexnet", classes=10, head="single", pooling="non_overlapping"))
    sides = [row.output_size[1] for row in summary.rows if row.role in ("conv", "pool")]
    assert sides == [55, 28, 26, 13, 11, 11, 11, 6]


@pytest.mark.parametrize(
    ("geometry", "smallest"), [("224_ceil", 64), ("227", 67), ("224_pad2", 63)]
)
def test_smallest_input_is_named_and_works(build, geometry, smallest):
    message = f"pool5 output would be 0x0 for a 48-pixel input; the smallest is {smallest}"
    with pytest.raises(UsageError, match=message):
        build("alexnet", size=48, geometry=geometry)
    network = build("alexnet", geometry=geometry, **SMALL | {"size": smallest})
    assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 10)


def test_order_of_the_paper_and_of_the_source(build):
    def first(number, **changes):
        return [layer.name for layer in build("alexnet", **SMALL, **changes).layers][:number]

    stage = ["conv2", "relu2", "norm2"]
    assert first(8) == ["conv1", "relu1", "norm1", "pool1", *stage, "pool2"]
    assert first(9, order="source") == (
        ["conv1", "norm1", "pool1", "relu1", *stage, "map_norm2", "pool2"]
    )
    assert first(16, order="source")[-3:] == ["conv5", "pool5", "relu5"]


def test_dropout_sits_on_the_outputs_of_fc6_and_fc7_or_on_their_inputs(build):
    def tail(network):
        return [layer.name for layer in network.layers][-8:]

    assert tail(build("alexnet", size=64, classes=10)) == (
        ["flatten", "fc6", "relu6", "dropout6", "fc7", "relu7", "dropout7", "fc8"]
    )
    assert tail(build("alexnet", size=64, classes=10, dropout_place="before")) == (
        ["flatten", "dropout6", "fc6", "relu6", "dropout7", "fc7", "relu7", "fc8"]
    )


@pytest.mark.parametrize("removed", ["conv2", "conv3", "conv4", "conv5"])
def test_any_middle_convolution_can_be_left_out(build, removed):
    network = build("alexnet", without_layers=[removed], **SMALL)
    assert removed not in [layer.name for layer in network.layers]
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_fc_layers_can_be_left_out(build):
    network = build("alexnet", size=64, classes=10, without_layers=["fc6"])
    assert network.fc7.in_features == 256


def test_settings_without_effect_are_refused(build):
    with pytest.raises(UsageError, match="no effect without fc6 and fc7"):
        build("alexnet", without_layers=["fc6", "fc7"])
    with pytest.raises(UsageError, match="does not have"):
        build("alexnet", head="single", without_layers=["fc6"])


@pytest.mark.parametrize(
    ("initialization", "deviations", "ones"),
    [
        ("paper", {"conv1": 0.01, "conv4": 0.01, "fc6": 0.01}, 1.0),
        ("source", {"conv1": 0.01, "conv4": 0.03, "fc6": 0.01}, 1.0),
        ("caffe", {"conv1": 0.01, "conv4": 0.01, "fc6": 0.005}, 0.1),
        ("kaiming", {"conv1": (2 / 363) ** 0.5, "fc6": (2 / 256) ** 0.5, "fc8": 0.01}, 0.0),
    ],
)
def test_initialization_has_the_published_deviations_and_biases(
    build, initialization, deviations, ones
):
    network = build("alexnet", size=64, classes=10, initialization=initialization)
    for name, deviation in deviations.items():
        assert abs(network.get_submodule(name).weight.std() / deviation - 1) < 0.03
    for name in ("conv2", "conv4", "conv5", "fc6", "fc7"):
        assert network.get_submodule(name).bias.unique().tolist() == pytest.approx([ones])
    for name in ("conv1", "conv3", "fc8"):
        assert network.get_submodule(name).bias.unique().tolist() == [0.0]
