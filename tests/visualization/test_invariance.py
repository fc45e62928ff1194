import pytest
import torch

from cnnlab.errors import NumericsError, UsageError
from cnnlab.visualization.invariance import (
    draw_equivariance,
    draw_invariance,
    equivariance_error,
)
from cnnlab.visualization.transformations import rotate, scale, shift, shift_down
from tests.reference.visualization import LIGHT_HEAD, network, probe_for


def test_shifting_moves_columns_to_the_right_and_repeats_the_border():
    image = torch.arange(5).view(1, 1, 1, 5)
    assert shift(image, 2)[0, 0, 0].tolist() == [0, 0, 0, 1, 2]
    assert shift(image, -2)[0, 0, 0].tolist() == [2, 3, 4, 4, 4]
    assert torch.equal(shift(image, 0), image)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_maps_move_with_the_image_exactly_at_multiples_of_the_jump(name):
    net = network(name, channels=1, size=32)
    (picture,) = draw_equivariance(net, probe_for(net))
    assert set(picture.facts) == {"c1", "s2", "c3", "s4"}
    for layer, errors in picture.facts.items():
        jump = net.receptive_fields[layer].jump_pixels
        for pixels, error in enumerate(errors):
            if pixels % jump == 0:
                assert error < 1e-12, (layer, pixels)
            else:
                assert error > 0.01, (layer, pixels)


def test_alexnet_is_equivariant_at_strides_although_conv1_has_jump_four():
    net = network("alexnet", channels=3, size=128, initialization="kaiming", **LIGHT_HEAD)
    (picture,) = draw_equivariance(net, probe_for(net, num_images=2, layer="pool1"))
    errors = picture.facts["pool1"]
    assert max(errors[0], errors[8], errors[16]) < 1e-12
    assert min(errors[4], errors[12]) > 0.01


def test_padding_breaks_it_at_the_border():
    net = network("alexnet", channels=3, size=128, initialization="kaiming", **LIGHT_HEAD)
    probe = probe_for(net, num_images=1)
    images = probe.images
    still, moved = (
        net.activations(probe.normalize(one), ["conv2"])["conv2"].detach()
        for one in (images, shift(images, 8))
    )
    field = net.receptive_fields["conv2"]
    inside, everywhere = equivariance_error(still, moved, field, 8, 128)
    assert inside < 1e-12
    assert everywhere > 0.01


def test_no_place_away_from_the_border_gives_no_number():
    net = network("lenet5", channels=1, size=32)
    maps = torch.rand(1, 16, 5, 5)
    inside, _ = equivariance_error(maps, maps, net.receptive_fields["s4"], 20, 32)
    assert inside is None


@pytest.fixture(scope="module")
def small_alexnet():
    return network("alexnet", channels=3, size=64, initialization="kaiming", **LIGHT_HEAD)


def test_curves_end_where_no_unit_is_away_from_the_border(small_alexnet):
    (picture,) = draw_equivariance(small_alexnet, probe_for(small_alexnet, num_images=2))
    inside, everywhere = picture.figure.axes
    assert picture.facts["conv2"][8] < 1e-12
    assert picture.facts["conv2"][9] is None
    by_layer = {line.get_label().split()[0]: line for line in inside.lines}
    assert list(by_layer["conv2"].get_xdata()) == list(range(9))
    assert len(everywhere.lines) == len(picture.facts) == len(picture.figure.legends[0].texts)
    assert "conv2" in picture.caption.split("ends, or is missing")[1]


def test_layers_that_see_the_border_everywhere_have_no_curve(small_alexnet):
    (picture,) = draw_equivariance(
        small_alexnet, probe_for(small_alexnet, num_images=2, layer="conv5")
    )
    assert set(picture.facts["conv5"]) == {None}
    inside, everywhere = picture.figure.axes
    assert not inside.lines
    assert len(everywhere.lines) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_are_an_error_and_no_equivariance(bad):
    net = network("lenet5", channels=1, size=32)
    with torch.no_grad():
        net.get_submodule("c1").weight[0, 0, 0, 0] = bad
    with pytest.raises(NumericsError, match="not finite"):
        draw_equivariance(net, probe_for(net))


def test_shifting_down_is_shifting_right_of_the_turned_image():
    image = torch.arange(5).view(1, 1, 5, 1).expand(1, 1, 5, 5)
    assert shift_down(image, 2)[0, 0, :, 0].tolist() == [0, 0, 0, 1, 2]
    assert shift_down(image, -2)[0, 0, :, 3].tolist() == [2, 3, 4, 4, 4]


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3), (-180, 2)])
def test_quarter_turns_are_exact_and_counterclockwise(degrees, turns):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(rotate(images, degrees), images.rot90(turns, (2, 3)))


def test_scaling_repeats_pixels_around_the_center():
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 3:5, 3:5] = 200
    larger, smaller = scale(image, 2.0), scale(image, 0.5)
    assert larger[0, 0, 2:6, 2:6].float().mean() > 100
    assert int((larger > 100).sum()) == 16
    assert int((smaller > 100).sum()) <= 1
    assert torch.equal(scale(image, 1.0), image)


def test_nothing_changes_without_a_change_and_the_answer_is_drawn_beside():
    net = network("lenet5", channels=1, size=32)
    (picture,) = draw_invariance(net, probe_for(net))
    stills = {"shift right": 0, "shift down": 0, "scale": 1, "rotation": 0}
    assert list(picture.facts) == list(stills)
    for found, still in zip(picture.facts.values(), stills.values(), strict=True):
        amounts = next(iter(found.values()))
        here = list(amounts).index(still)
        assert list(found["changes"]) == ["c1", "s4", "relu6"]
        for values in found["changes"].values():
            assert values[here] == 0
            assert min(values[:here] + values[here + 1 :]) > 0
        assert len(found["probability"]) == len(amounts)


def test_a_network_without_maps_cannot_be_equivariant():
    net = network("mlp", channels=1, size=20)
    with pytest.raises(UsageError, match="has no maps that could move"):
        draw_equivariance(net, probe_for(net))
    lenet = network("lenet5", channels=1, size=32)
    with pytest.raises(UsageError, match="f6 has no maps") as caught:
        draw_equivariance(lenet, probe_for(lenet, layer="f6"))
    assert "c1" in caught.value.hint
