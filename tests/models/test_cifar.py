"""The CIFAR-10 networks around the 2012 paper."""

import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.geometry import Window
from cnnlab.models.cifar import LocallyConnected2d
from cnnlab.models.layers import Conv2d
from cnnlab.models.summary import summarize

SAME = Window(3, padding=1)


def local_layer(size=6, window=SAME):
    layer = LocallyConnected2d(2, 3, window, size).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


@pytest.mark.parametrize("window", [Window(3, padding=1), Window(3, stride=2), Window(2)])
def test_every_position_is_a_convolution_of_its_own(window):
    layer = local_layer(window=window)
    maps = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    found = layer(maps)
    shared = Conv2d(2, 3, window).double()
    for position in range(layer.out_size**2):
        row, column = divmod(position, layer.out_size)
        with torch.no_grad():
            shared.weight.copy_(layer.weight[position].view_as(shared.weight))
            shared.bias.copy_(layer.bias[:, row, column])
        torch.testing.assert_close(found[:, :, row, column], shared(maps)[:, :, row, column])


def test_gradients_pass_gradcheck():
    layer = local_layer(size=3)
    maps = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, maps)
    weights = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda *_: layer(maps.detach()), weights)


def test_sizes_are_those_of_pooling_that_rounds_up(build):
    summary = summarize(build("cifar_13pct"))
    sizes = {row.name: row.output_size for row in summary.rows}
    assert sizes["pool1"] == [64, 16, 16]
    assert sizes["pool2"] == [64, 8, 8]
    assert sizes["local4"] == [32, 8, 8]
    counts = {row.name: row.num_parameters for row in summary.rows if row.num_parameters}
    assert counts == {
        "conv1": 64 * 3 * 25 + 64,
        "conv2": 64 * 64 * 25 + 64,
        "local3": 64 * (32 * 64 * 9 + 32),
        "local4": 64 * (32 * 32 * 9 + 32),
        "fc": 32 * 64 * 10 + 10,
    }


def test_normalization_is_before_pooling_or_after_pool1(build):
    def names(**changes):
        layers = build("cifar_11pct", **changes).layers
        return [layer.name for layer in layers if layer.role in ("conv", "norm", "pool")]

    assert names() == ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2"]
    assert names(normalization="after_pooling") == (
        ["conv1", "pool1", "norm1", "conv2", "norm2", "pool2"]
    )
    assert names(normalization="none") == ["conv1", "pool1", "conv2", "pool2"]


def test_initial_deviations_are_those_of_the_layer_files(build):
    network = build("cifar_13pct")
    for name, deviation in {"conv1": 1e-4, "conv2": 0.01, "local3": 0.04, "fc": 0.01}.items():
        found = network.get_submodule(name).weight.std().item()
        assert found == pytest.approx(deviation, rel=0.05)


def test_a_net_without_locally_connected_layers_is_refused(build):
    with pytest.raises(UsageError, match="no locally connected layer"):
        build("cifar_13pct", local_channels=[])


def test_four_layer_net_has_four_layers_with_weights(build):
    rows = summarize(build("four_layer", activation="tanh")).rows
    assert [row.name for row in rows if row.num_parameters] == ["conv1", "conv2", "conv3", "fc"]
    assert {row.role for row in rows if row.name.startswith("tanh")} == {"squash"}
