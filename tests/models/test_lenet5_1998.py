"""LeNet-5 as published in 1998, and the second derivatives of its update rule."""

import pytest
import torch
from torch.func import functional_call, jacrev

from cnnlab.errors import UsageError
from cnnlab.geometry import Window
from cnnlab.models import curvature
from cnnlab.models.bitmaps import digit_bitmaps
from cnnlab.models.layers_1998 import CONNECTIONS, RbfOutput, ScaledTanh, Subsample, TableConv2d
from cnnlab.models.summary import summarize
from cnnlab.training.losses import cross_entropy

SOFTMAX_AND_PUBLISHED = ("cross_entropy", "discriminative_distance")


def fill(layer):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer.double()


def test_every_layer_has_the_published_number_of_trainable_parameters(build):
    summary = summarize(build("lenet5_1998"))
    counts = {row.name: row.num_parameters for row in summary.rows if row.num_parameters}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert summary.num_parameters == 60_000


def test_softmax_scores_add_850_parameters_and_leave_the_other_weights_as_they_are(build):
    network, published = (build("lenet5_1998", loss=loss) for loss in SOFTMAX_AND_PUBLISHED)
    summary = summarize(network)
    assert summary.num_parameters == 60_850
    assert summary.rows[-1].num_parameters == 84 * 10 + 10
    assert network.output.weight.abs().max() <= 2.4 / 84**0.5
    for name, weight in published.named_parameters():
        assert torch.equal(network.get_parameter(name), weight)


def test_softmax_scores_are_trained_by_the_cross_entropy_and_take_any_number_of_classes(
    build, configure
):
    trained = [configure("lenet5_1998", loss=loss).training_loss for loss in SOFTMAX_AND_PUBLISHED]
    assert trained == list(SOFTMAX_AND_PUBLISHED)
    network = build("lenet5_1998", classes=43, loss="cross_entropy")
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 43)


def test_maps_have_the_published_sizes_and_receptive_fields(build):
    rows = {row.name: row for row in summarize(build("lenet5_1998")).rows}
    sizes = {name: rows[name].output_size for name in ("c1", "s2", "c3", "s4", "c5", "f6")}
    assert sizes == {
        "c1": [6, 28, 28],
        "s2": [6, 14, 14],
        "c3": [16, 10, 10],
        "s4": [16, 5, 5],
        "c5": [120, 1, 1],
        "f6": [84],
    }
    fields = [(rows[n].receptive_field_pixels, rows[n].jump_pixels) for n in list(sizes)[:5]]
    assert fields == [(5, 1), (6, 2), (14, 2), (16, 4), (32, 4)]


def test_connections_of_the_network_add_up_to_the_published_numbers(build):
    """Each weight or bias use counts once a position; four inputs and a bias in subsampling."""
    rows = {row.name: row for row in summarize(build("lenet5_1998")).rows}

    def uses(name):
        return rows[name].num_multiply_adds + torch.Size(rows[name].output_size).numel()

    def block_inputs(name):
        return 5 * torch.Size(rows[name].output_size).numel()

    counts = [uses("c1"), block_inputs("s2"), uses("c3"), block_inputs("s4"), uses("c5")]
    assert counts == [122_304, 5_880, 151_600, 2_000, 48_120]
    assert sum(counts) + uses("f6") + rows["output"].num_multiply_adds == 340_908


def test_connection_table_has_sixty_links_of_the_published_pattern():
    assert [len(seen) for seen in CONNECTIONS] == [3] * 6 + [4] * 9 + [6]
    assert len(set(CONNECTIONS)) == 16
    uses = [sum(source in seen for seen in CONNECTIONS) for source in range(6)]
    assert uses == [10] * 6


def test_c3_sees_just_the_maps_of_the_table():
    layer = fill(TableConv2d(CONNECTIONS, Window(5)))
    maps = torch.randn(1, 6, 14, 14, dtype=torch.float64)
    before = layer(maps)
    for source in range(6):
        changed = maps.clone()
        changed[:, source] += 1
        moved = (layer(changed) - before).abs().amax((0, 2, 3)) > 1e-9
        assert moved.tolist() == [source in seen for seen in CONNECTIONS]


def test_subsampling_is_coefficient_times_sum_plus_bias():
    layer = fill(Subsample(2))
    maps = torch.arange(16.0, dtype=torch.float64).reshape(1, 1, 4, 4).repeat(1, 2, 1, 1)
    sums = torch.tensor([[10.0, 18.0], [42.0, 50.0]], dtype=torch.float64)
    for channel in range(2):
        wanted = layer.weight[channel] * sums + layer.bias[channel]
        assert torch.allclose(layer(maps)[0, channel], wanted)


def test_squashing_function_maps_plus_and_minus_one_to_themselves():
    values = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 100.0], dtype=torch.float64))
    assert values.tolist() == pytest.approx([-1.0, 0.0, 1.0, 1.7159], abs=2e-5)


def test_slope_follows_from_the_value():
    sums = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    values = ScaledTanh()(sums)
    values.sum().backward()
    assert torch.allclose(ScaledTanh.slope_at(values), sums.grad)


def test_scores_are_minus_the_squared_distance_to_each_bitmap():
    layer = RbfOutput().double()
    units = torch.randn(5, 84, dtype=torch.float64)
    wanted = -(units[:, None] - layer.bitmaps[None]).square().sum(2)
    assert torch.allclose(layer(units), wanted)
    assert layer(layer.bitmaps).argmax(1).tolist() == list(range(10))


def test_bitmaps_are_different_drawings_of_plus_and_minus_one():
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 84)
    assert set(bitmaps.unique().tolist()) == {-1.0, 1.0}
    apart = (bitmaps[:, None] != bitmaps[None]).sum(2)
    assert apart[~torch.eye(10, dtype=torch.bool)].min() >= 6


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ScaledTanh(), (2, 3)),
        (Subsample(2), (2, 2, 4, 4)),
        (TableConv2d(((0, 1), (1,)), Window(2)), (2, 2, 3, 3)),
        (RbfOutput(), (2, 84)),
    ],
)
def test_gradients_of_own_layers_pass_gradcheck(layer, shape):
    inputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fill(layer), inputs)


@pytest.mark.parametrize(("reading", "power"), [("literal", 1.0), ("sqrt", 0.5)])
def test_initialization_is_uniform_within_the_published_bound(build, reading, power):
    network = build("lenet5_1998", initialization=reading)
    for name, inputs in {"c1": 25, "s2": 4, "c5": 400, "f6": 120}.items():
        bound = 2.4 / inputs**power
        weights = network.get_submodule(name).weight
        assert weights.abs().max() <= bound
        assert weights.abs().max() > 0.6 * bound
        assert network.get_submodule(name).bias.eq(0).all()
    kernels = network.c3.weight  # 6 maps of 3 inputs, 9 of 4, one of 6
    assert kernels[:18].abs().max() <= 2.4 / 75**power
    assert kernels[-6:].abs().max() <= 2.4 / 150**power
    assert kernels[:18].abs().max() > 2.4 / 150**power


def test_another_number_of_classes_is_refused(build):
    with pytest.raises(UsageError, match="ten bitmaps"):
        build("lenet5_1998", classes=43)


@pytest.fixture
def exact(build):
    """The exact Gauss-Newton diagonal of equation 8 on four images, by one Jacobian per image."""
    network = build("lenet5_1998").double()
    images = torch.randn(4, 1, 32, 32, dtype=torch.float64)
    weights = {name: value.detach() for name, value in network.named_parameters()}
    names = [layer.name for layer in network.layers][:-1]

    def f6(weights, image):
        maps = image[None]
        for name in names:
            own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if f"{name}." in k}
            maps = functional_call(network.get_submodule(name), own, maps)
        return maps[0]

    squares = [
        {k: 2 * v.square().sum(0) for k, v in jacrev(f6)(weights, image).items()}
        for image in images
    ]
    diagonal = {name: sum(s[name] for s in squares) / len(images) for name in weights}
    return curvature.diagonal(network, images), diagonal


def test_squared_propagation_is_exact_for_the_last_two_layers(exact):
    found, wanted = exact
    for name in ("c5.weight", "c5.bias", "f6.weight", "f6.bias"):
        assert torch.allclose(found[name], wanted[name], rtol=1e-9)


def test_squared_propagation_has_the_right_order_below_and_is_never_negative(exact):
    found, wanted = exact
    assert found.keys() == wanted.keys()
    for name in found:
        assert found[name].shape == wanted[name].shape
        assert found[name].min() >= 0
        assert 0.02 < (found[name].mean() / wanted[name].mean()).item() < 20


def test_the_curvature_of_softmax_scores_is_that_of_the_cross_entropy(build):
    """Exact for the last layer, and of the right order below."""
    network = build("lenet5_1998", loss="cross_entropy").double()
    images = torch.randn(4, 1, 32, 32, dtype=torch.float64)
    found = curvature.diagonal(network, images)
    f6 = network.activations(images)["squash6"].detach()

    def loss(weight):
        scores = f6 @ weight.T + network.output.bias.detach()
        return cross_entropy(scores, torch.tensor([3, 1, 4, 1])) / len(images)

    weight = network.output.weight.detach()
    exact = jacrev(jacrev(loss))(weight).reshape(840, 840).diagonal().reshape(10, 84)
    assert torch.allclose(found["output.weight"], exact, rtol=1e-9)
    assert found.keys() == dict(network.named_parameters()).keys()
    assert all(value.min() >= 0 and value.max() > 0 for value in found.values())


@pytest.mark.parametrize("loss", SOFTMAX_AND_PUBLISHED)
def test_squared_propagation_leaves_weights_and_gradients_alone(build, loss):
    network = build("lenet5_1998", loss=loss)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    curvature.diagonal(network, torch.randn(3, 1, 32, 32))
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_squared_propagation_refuses_other_networks(build):
    with pytest.raises(UsageError, match="use lenet5_1998"):
        curvature.diagonal(build("lenet5"), torch.randn(1, 1, 32, 32))
