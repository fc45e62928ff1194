import torch

from cnnlab.visualization.occlusion import GRAY_LEVEL, cover, draw_occlusion, occlusion_map
from tests.reference.visualization import network, probe_for


def test_the_square_covers_what_lies_around_its_centre_and_no_more():
    image = torch.zeros(2, 6, 6, dtype=torch.uint8)
    covered = cover(image, torch.tensor([[3, 2], [0, 5]]), size=2)
    assert covered.shape == (2, 2, 6, 6)
    assert covered[0, 1].nonzero().tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert covered[1, 0].nonzero().tolist() == [[0, 4], [0, 5]]  # clipped at the border
    assert set(covered.unique().tolist()) == {0, GRAY_LEVEL}


def test_the_map_is_the_probability_of_each_covered_image():
    net = network("lenet5", channels=1, size=32)
    probe = probe_for(net)
    found = occlusion_map(net, probe, probe.images[0], label=3, size=6, stride=8)
    assert found.shape == (4, 4)
    by_hand = probe.images[0].clone()
    by_hand[:, 13:19, 5:11] = GRAY_LEVEL  # centered at row 16, column 8
    with torch.no_grad():
        chance = net(probe.normalize(by_hand[None])).softmax(1)[0, 3]
    torch.testing.assert_close(found[2, 1], chance)


def test_a_map_is_drawn_below_each_image_also_without_labels():
    net = network("lenet5", channels=1, size=32)
    (picture,) = draw_occlusion(net, probe_for(net, num_images=3, labels=None))
    assert len(picture.figure.axes) == 3 * 2 + 1  # and the color bar
