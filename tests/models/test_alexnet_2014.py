"""The lecture's network, torchvision's weights in it, and the one for 32x32 images."""

import pytest
import torch
import torchvision

from cnnlab.models.alexnet_2014 import from_torchvision, to_torchvision
from cnnlab.models.summary import summarize


@pytest.fixture(scope="module")
def theirs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.alexnet(weights=None).eval()


def test_every_layer_has_the_parameters_of_the_table(build):
    summary = summarize(build("alexnet_2014"))
    counts = {row.name: row.num_parameters for row in summary.rows if row.num_parameters}
    assert counts == {
        "conv1": 23_296,
        "conv2": 307_392,
        "conv3": 663_936,
        "conv4": 884_992,
        "conv5": 590_080,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "fc8": 4_097_000,
    }
    assert summary.num_parameters == 61_100_840
    assert round(summary.fc_share, 4) == 0.9596
    assert round(summary.num_multiply_adds / 1e6, 1) == 714.2


def test_torchvisions_weights_give_torchvisions_scores_exactly(build, theirs):
    network = build("alexnet_2014").eval()
    network.load_state_dict(from_torchvision(theirs.state_dict()))
    images = torch.randn(2, 3, 224, 224)
    assert torch.equal(network(images), theirs(images))


def test_converted_back_the_weights_load_strictly_into_torchvision(build, theirs):
    ours = build("alexnet_2014", seed=3)
    theirs.load_state_dict(to_torchvision(ours.state_dict()), strict=True)
    there = from_torchvision(theirs.state_dict())
    assert all(torch.equal(there[name], value) for name, value in ours.state_dict().items())


def test_dropout_sits_where_torchvision_has_it_or_where_the_paper_has_it(build):
    def around_fc(**changes):
        network = build("alexnet_2014", size=64, classes=10, **changes)
        return [layer.name for layer in network.layers if layer.role in ("fc", "dropout")]

    assert around_fc() == ["dropout6", "fc6", "dropout7", "fc7", "fc8"]
    assert around_fc(dropout_place="after") == ["fc6", "dropout6", "fc7", "dropout7", "fc8"]
    assert around_fc(dropout=0.0) == ["fc6", "fc7", "fc8"]


def test_normalization_can_be_switched_on(build):
    network = build("alexnet_2014", size=64, classes=10, normalization="source")
    norms = [layer for layer in network.layers if layer.role == "norm"]
    assert [layer.name for layer in norms] == ["norm1", "norm2"]
    assert norms[0].module.alpha == pytest.approx(2e-5)


def test_small_version_has_maps_of_32_16_8_and_7_7_million_parameters(build):
    summary = summarize(build("alexnet_cifar"))
    sides = {row.name: row.output_size[1] for row in summary.rows if row.role in ("conv", "pool")}
    assert [sides[f"conv{n}"] for n in (1, 2, 3, 4, 5)] == [32, 16, 8, 8, 8]
    assert sides["pool5"] == 4
    assert summary.num_parameters == 7_703_370
