import torch

from cnnlab.geometry import ReceptiveField
from cnnlab.visualization.patches import corners, cut, deepest_local_layer
from tests.reference.visualization import network


def test_corners_follow_the_jump_and_the_padding():
    field = ReceptiveField(size_pixels=5, jump_pixels=2, start_pixels=-2)
    found = corners(field, torch.tensor([0, 1, 7]), width=3)
    assert found.tolist() == [[-2, -2], [-2, 0], [2, 0]]


def test_patches_are_slices_of_the_image():
    images = torch.rand(2, 3, 9, 9)
    field = ReceptiveField(size_pixels=4, jump_pixels=1)
    patches = cut(images, field, torch.tensor([[0, 0], [5, 3]]), fill=0.5)
    assert torch.equal(patches[0], images[0, :, :4, :4])
    assert torch.equal(patches[1], images[1, :, 5:9, 3:7])


def test_what_lies_beyond_the_border_is_filled():
    images = torch.rand(1, 1, 6, 6)
    field = ReceptiveField(size_pixels=4, jump_pixels=1)
    patch = cut(images, field, torch.tensor([[-2, 4]]), fill=0.5)[0, 0]
    assert (patch[:2] == 0.5).all()
    assert (patch[:, 2:] == 0.5).all()
    assert torch.equal(patch[2:, :2], images[0, 0, :2, 4:])


def test_a_field_as_large_as_the_image_shows_it_whole():
    images = torch.rand(1, 1, 6, 6)
    field = ReceptiveField(size_pixels=9, jump_pixels=2, start_pixels=-3)
    assert cut(images, field, torch.tensor([[1, 1]]), 0.5) is images


def test_parts_are_looked_for_in_the_deepest_convolution_that_does_not_see_all():
    assert deepest_local_layer(network("lenet5", channels=1, size=32), 32) == "c3"
    assert deepest_local_layer(network("linear", channels=1, size=32), 32) == "output"
