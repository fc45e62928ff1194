import pytest
import torch

from cnnlab.visualization.occlusion import (
    GRAY_LEVEL,
    Square,
    cover,
    draw_occlusion,
    occlusion_maps,
    square_of,
)
from tests.reference.visualization import network, probe_for


def test_the_square_covers_what_lies_around_its_centre_and_no_more():
    image = torch.zeros(2, 6, 6, dtype=torch.uint8)
    covered = cover(image, torch.tensor([[3, 2], [0, 5]]), size=2)
    assert covered.shape == (2, 2, 6, 6)
    assert covered[0, 1].nonzero().tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert covered[1, 0].nonzero().tolist() == [[0, 4], [0, 5]]  # clipped at the border
    assert set(covered.unique().tolist()) == {0, GRAY_LEVEL}


@pytest.fixture(scope="module")
def net():
    return network("lenet5", channels=1, size=32)


def test_the_panels_hold_what_the_network_answers_to_each_covered_image(net):
    probe = probe_for(net)
    found = occlusion_maps(net, probe, probe.images[0], 3, Square(6, 8), "c3")
    assert found.probability.shape == found.activity.shape == found.predicted.shape == (4, 4)
    by_hand = probe.images[:1].clone()
    by_hand[..., 13:19, 5:11] = GRAY_LEVEL  # centered at row 16, column 8

    with torch.no_grad():
        chances = net(probe.normalize(by_hand)).softmax(1)[0]
        whole, covered = (
            net.activations(probe.normalize(one), ["c3"])["c3"][0].clamp_min(0).sum((1, 2))
            for one in (probe.images[:1], by_hand)
        )
    assert found.unit == int(whole.argmax())
    torch.testing.assert_close(found.probability[2, 1], chances[3])
    torch.testing.assert_close(found.activity[2, 1], covered[found.unit])
    assert int(found.predicted[2, 1]) == int(chances.argmax())


def test_five_panels_are_drawn_for_each_image_also_without_labels(net):
    (picture,) = draw_occlusion(net, probe_for(net, num_images=2, labels=None))
    assert len(picture.figure.axes) == 2 * (5 + 2)  # two color bars each
    assert picture.facts["layer"] == "c3"  # the deepest one with maps, not the scores


def test_the_square_is_as_large_and_moves_as_far_as_asked(net):
    probe = probe_for(net, num_images=1, square_pixels=9, square_stride=16, layer="c1")
    (picture,) = draw_occlusion(net, probe)
    assert (picture.facts["square_pixels"], picture.facts["square_stride"]) == (9, 16)
    assert [len(row) for row in picture.facts["probability"][0]] == [2, 2]
    assert "9 pixels" in picture.caption
    assert "the map of c1" in picture.caption


def test_the_default_square_is_a_fifth_of_the_image_at_32_places(net):
    assert square_of(probe_for(net)) == Square(6, 1)
