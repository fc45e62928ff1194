"""The worked examples of the lecture slides."""

import torch
from torch import nn

from cnnlab import geometry
from cnnlab.geometry import Window
from cnnlab.models.layers import Conv2d, max_pool
from tests.reference import models as reference


def test_two_by_two_max_pooling_gives_the_table_of_the_slide():
    shown = [[14, 1, 4, 4], [3, 4, 5, 2], [8, 9, 12, 3], [8, 3, 4, 3]]
    pooled = max_pool(Window(2, stride=2))(torch.tensor([[shown]], dtype=torch.float32))
    assert pooled.tolist() == [[[[14, 5], [9, 12]]]]


def test_convolution_in_torch_is_cross_correlation():
    images = torch.arange(25.0).reshape(1, 1, 5, 5)
    kernel = torch.arange(9.0).reshape(3, 3)
    layer = Conv2d(1, 1, Window(3))
    with torch.no_grad():
        layer.weight.copy_(kernel)
        layer.bias.zero_()
    slid = reference.convolve(images[0, 0], kernel, 1, 0)
    flipped = reference.convolve(images[0, 0], kernel.flip(0, 1), 1, 0)
    assert torch.equal(layer(images)[0, 0], slid)
    assert not torch.equal(layer(images)[0, 0], flipped)


def test_translating_the_image_translates_the_maps():
    layer = nn.Conv2d(1, 2, 3)
    images = torch.zeros(1, 1, 12, 12)
    images[..., 3:6, 3:6] = torch.randn(3, 3)
    moved = layer(images.roll((2, 3), (2, 3)))
    assert torch.allclose(moved, layer(images).roll((2, 3), (2, 3)))


def test_a_convolution_has_c_out_c_in_k_squared_weights_and_c_out_biases():
    assert geometry.conv_parameters(3, 64, 11) == 64 * 3 * 11**2 + 64 == 23_296


def test_the_slides_57_409_444_is_a_hundred_class_net_without_one_bias_vector():
    """Derive the slide's total from its misreading and show the total of its own FC3 row.

    The five convolutions are those of torchvision's AlexNet. With FC3 = 4096 x 1000 + 1000, as the
    slide's row says, the network has 61,100,840 parameters. The printed 57,409,444 needs 100
    classes (FC3 = 409,700, a tenth of that row) and forgets the 4,096 biases of one hidden layer.
    """
    convolutions = sum(
        geometry.conv_parameters(*layer)
        for layer in ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
    )
    hidden = geometry.fc_parameters(256 * 6 * 6, 4096) + geometry.fc_parameters(4096, 4096)
    assert convolutions == 2_469_696
    assert geometry.fc_parameters(4096, 1000) == 4_097_000
    assert convolutions + hidden + geometry.fc_parameters(4096, 1000) == 61_100_840
    assert convolutions + hidden + geometry.fc_parameters(4096, 100) - 4096 == 57_409_444
