"""The network of Zeiler and Fergus: the counts, fields and sizes of its table, and its weights."""

import pytest
import torch

from cnnlab.models.summary import summarize_unbuilt

COUNTS = {
    "conv1": 14_208,
    "conv2": 614_656,
    "conv3": 885_120,
    "conv4": 1_327_488,
    "conv5": 884_992,
    "fc6": 37_752_832,
    "fc7": 16_781_312,
    "fc8": 4_097_000,
}
SIDES_AND_FIELDS = {
    "conv1": (110, 7),
    "pool1": (55, 11),
    "conv2": (26, 27),
    "pool2": (13, 43),
    "conv3": (13, 75),
    "conv4": (13, 107),
    "conv5": (13, 139),
    "pool5": (6, 171),
}
NARROW = {"channels": 1, "size": 64, "classes": 10, "width": 0.0625}


@pytest.fixture(scope="module")
def table(build):
    return summarize_unbuilt(lambda: build("zfnet"))


def test_every_layer_has_the_parameters_of_the_table(table):
    assert {row.name: row.num_parameters for row in table.rows if row.num_parameters} == COUNTS
    assert table.num_parameters == 62_357_608


def test_maps_and_receptive_fields_are_those_of_the_paper(table):
    found = {
        row.name: (row.output_size[1], row.receptive_field_pixels)
        for row in table.rows
        if row.role in ("conv", "pool")
    }
    assert found == SIDES_AND_FIELDS


def test_normalization_comes_after_pooling_and_only_there(table):
    names = [row.name for row in table.rows]
    assert [names[names.index(norm) - 1] for norm in ("norm1", "norm2")] == ["pool1", "pool2"]
    assert [row.role for row in table.rows].count("norm") == 2


def test_the_papers_weights_have_a_deviation_of_a_hundredth_and_no_bias(build):
    network = build("zfnet", **NARROW, initialization="paper")
    for name, value in network.state_dict().items():
        if name.endswith("bias"):
            assert not value.any()
        elif value.numel() > 1000:
            assert value.std().item() == pytest.approx(0.01, rel=0.1)


def test_settings_change_what_they_name(build):
    plain = build("zfnet", **NARROW)
    without = build("zfnet", **NARROW, normalization="none", dropout=0.0)
    source = build("zfnet", **NARROW, normalization="source")
    gone = {layer.name for layer in plain.layers} - {layer.name for layer in without.layers}
    assert gone == {"norm1", "norm2", "dropout6", "dropout7"}
    assert plain.norm1.alpha == pytest.approx(5 * source.norm1.alpha)
    images = torch.randn(2, 1, 64, 64)
    assert not torch.equal(plain.eval()(images), source.eval()(images))
