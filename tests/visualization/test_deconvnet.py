import pytest
import torch
from torch import nn

from cnnlab.errors import UsageError
from cnnlab.geometry import Window
from cnnlab.models.layers import Conv2d, max_pool
from cnnlab.models.network import Layer, Network, Task
from cnnlab.visualization.deconvnet import SIGNALS, forward_with_signal, project
from tests.reference.visualization import LIGHT_HEAD, network, project_by_hand

ALEXNETS = [("224_ceil", 224), ("227", 227), ("224_pad2", 224)]


def random_images(net, count=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, net.in_channels, net.input_size_pixels, net.input_size_pixels)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def strongest(net, image, layer, unit=1):
    return int(net.activations(image, [layer])[layer][0, unit].argmax())


@pytest.fixture(scope="module")
def lenet():
    return network("lenet5", channels=1, size=32)


@pytest.fixture(scope="module", params=ALEXNETS, ids=[name for name, _ in ALEXNETS])
def alexnet(request):
    name, size = request.param
    settings = {"geometry": name, "initialization": "kaiming", "width": 0.5, **LIGHT_HEAD}
    return network("alexnet", channels=3, size=size, **settings)


def by_autograd(net, images, layer, unit):
    pixels = images.clone().requires_grad_()
    maps = net.activations(pixels, [layer])[layer]
    maps = maps.reshape(*maps.shape[:2], -1).amax(2)
    return torch.autograd.grad(maps[:, unit].sum(), pixels)[0]


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet5", "lenet5_1998"])
def test_gradient_equals_autograd_on_every_layer_of_a_small_model(name):
    net = network(name, channels=1, size=32)
    images = random_images(net, 3)
    layers = [layer.name for layer in net.layers if layer.role != "flatten"]
    for layer in layers:
        found = project(net, images, layer, torch.tensor([1, 1, 1]), "gradient")
        expected = by_autograd(net, images, layer, 1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert found.abs().max() > 0


@pytest.mark.parametrize("layer", ["norm1", "conv2", "conv5", "pool5", "fc8"])
def test_gradient_equals_autograd_on_alexnet(alexnet, layer):
    images = random_images(alexnet)
    found = project(alexnet, images, layer, torch.tensor([1]), "gradient")
    torch.testing.assert_close(found, by_autograd(alexnet, images, layer, 1), rtol=0, atol=1e-6)
    assert found.abs().max() > 0


def pixel_net():
    """Two 1x1 kernels (1 and -1), a rectifier, and one 2x2 kernel on both maps."""
    first, second = Conv2d(1, 2, Window(1)), Conv2d(2, 1, Window(2))
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        second.weight.copy_(torch.tensor([[[[2.0, 3], [-1, -5]], [[7.0, -1], [1, 2]]]]))
        first.bias.zero_(), second.bias.zero_()
    layers = [
        Layer("conv1", "conv", first),
        Layer("relu1", "rectifier", nn.ReLU()),
        Layer("conv2", "conv", second),
    ]
    return Network(layers, Task(1, 2, 2))


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        # the kernel of conv2 comes down as [[2,3],[-1,-5]] and [[7,-1],[1,2]]; the rectifier is
        # open forward at the left column of the first map and the right column of the second;
        # conv1 turned round subtracts the second map from the first
        ("gradient", [[2.0, 1.0], [-1.0, -2.0]]),
        ("deconvnet", [[-5.0, 3.0], [-1.0, -2.0]]),
        ("guided", [[2.0, 0.0], [0.0, -2.0]]),
    ],
)
def test_a_two_layer_case_computed_by_hand(signal, expected):
    image = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]])
    projected = project(pixel_net(), image, "conv2", torch.tensor([0]), signal)
    assert projected[0, 0].tolist() == expected


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_lenet_projection_equals_the_layers_turned_round_one_by_one(pooling, signal):
    net = network("lenet5", channels=1, size=32, pooling=pooling)
    image = random_images(net)
    for layer in ("c1", "s2", "relu1", "c3", "relu3", "c5", "f6", "output"):
        at = strongest(net, image, layer)
        found = project(net, image, layer, torch.tensor([1]), signal)
        expected = project_by_hand(net, image[0], layer, 1, at, signal)
        torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("signal", ["deconvnet", "guided"])
def test_alexnet_projection_equals_the_layers_turned_round_one_by_one(alexnet, signal):
    image = random_images(alexnet)
    at = strongest(alexnet, image, "pool2")
    found = project(alexnet, image, "pool2", torch.tensor([1]), signal)
    expected = project_by_hand(alexnet, image[0], "pool2", 1, at, signal)
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=1e-12)
    assert found.abs().max() > 0


def test_towers_project_through_their_own_kernels_only():
    net = network("alexnet_two_tower", channels=3, size=64, initialization="kaiming", **LIGHT_HEAD)
    image = random_images(net)
    at = strongest(net, image, "conv2")
    found = project(net, image, "conv2", torch.tensor([1]), "deconvnet")
    expected = project_by_hand(net, image[0], "conv2", 1, at, "deconvnet")
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        net.get_submodule("conv1").weight[48:] = 0  # the other tower
    again = project(net, image, "conv2", torch.tensor([1]), "deconvnet", torch.tensor([at]))
    torch.testing.assert_close(again, found, rtol=0, atol=0)


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_layer_of_every_geometry_restores_the_input_size(alexnet, signal):
    image = random_images(alexnet)
    side = alexnet.input_size_pixels
    for layer in ("conv1", "norm1", "pool1", "conv5", "pool5"):
        found = project(alexnet, image, layer, torch.tensor([0]), signal)
        assert found.shape == (1, 3, side, side)


@pytest.mark.parametrize(("geometry", "side"), ALEXNETS)
def test_the_last_unit_of_conv1_projects_onto_the_last_pixels(geometry, side):
    net = network("alexnet", channels=3, size=side, geometry=geometry, **LIGHT_HEAD)
    corner = torch.tensor([55 * 55 - 1])
    found = project(net, random_images(net), "conv1", torch.tensor([0]), "deconvnet", corner)
    field = net.receptive_fields["conv1"]
    first = field.start_pixels + 54 * field.jump_pixels
    rows = found[0].abs().sum((0, 2)).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (first, min(side, first + 11) - 1)


def pool_net(kernel):
    layers = [Layer("pool", "pool", max_pool(Window(kernel, stride=2)))]
    return Network(layers, Task(1, 8, 2))


def test_squashing_keeps_its_derivative_whatever_the_signal():
    net = network("lenet5_1998", channels=1, size=32)
    image = random_images(net)
    by_signal = [project(net, image, "f6", torch.tensor([2]), signal) for signal in SIGNALS]
    assert torch.equal(by_signal[0], by_signal[1])
    assert torch.equal(by_signal[1], by_signal[2])
    tanh = network("lenet5", channels=1, size=32, activation="tanh", initialization="xavier")
    found = project(tanh, image, "f6", torch.tensor([1]), "deconvnet")
    expected = project_by_hand(tanh, image[0], "f6", 1, 0, "deconvnet")
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-12)


def test_switches_round_trip():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    maps = forward_with_signal(pool_net(2), images, "pool", "deconvnet")
    (unpooled,) = torch.autograd.grad(maps, images, grad_outputs=maps)
    assert torch.equal(pool_net(2)(unpooled), maps)
    assert torch.equal(unpooled[unpooled > 0], images[unpooled > 0])
    assert int((unpooled > 0).sum()) == maps.numel()


def test_repeated_switches_of_overlapping_windows_add():
    image = torch.zeros(1, 1, 7, 7)
    image[0, 0, 2, 2] = 1  # the maximum of four windows of 3 at stride 2
    image.requires_grad_()
    maps = forward_with_signal(pool_net(3), image, "pool", "deconvnet")
    switched = torch.zeros_like(maps)
    switched[0, 0, :2, :2] = 1
    (unpooled,) = torch.autograd.grad(maps, image, grad_outputs=switched)
    assert unpooled[0, 0, 2, 2] == 4
    assert unpooled.sum() == 4
    kept, switches = nn.functional.max_pool2d(image, 3, 2, return_indices=True)
    assert nn.functional.max_unpool2d(switched, switches, 3, 2, output_size=[7, 7]).sum() < 4
    assert torch.equal(kept, maps)


def test_projections_are_homogeneous_so_the_seed_of_one_stands_for_any_activation(lenet):
    image = random_images(lenet).requires_grad_()
    maps = forward_with_signal(lenet, image, "c3", "deconvnet")
    seed = torch.zeros_like(maps)
    seed[0, 2, 4, 4] = 1
    once, thrice = (
        torch.autograd.grad(maps, image, grad_outputs=seed * factor, retain_graph=True)[0]
        for factor in (1, 3)
    )
    torch.testing.assert_close(thrice, 3 * once, rtol=1e-12, atol=1e-14)


def test_a_batch_projects_each_image_as_if_alone(lenet):
    images, units = random_images(lenet, 3), torch.tensor([0, 5, 11])
    together = project(lenet, images, "c3", units)
    for n in range(3):
        alone = project(lenet, images[n : n + 1], "c3", units[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-12, atol=1e-14)


def test_projecting_leaves_the_model_as_it_was():
    net = network("alexnet", channels=3, size=64, **LIGHT_HEAD | {"without_layers": ["fc7"]})
    net.train()
    net.get_submodule("conv1").eval()
    before = torch.get_rng_state()
    project(net, random_images(net), "fc8", torch.tensor([0]))
    assert net.training
    assert not net.get_submodule("conv1").training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(before, torch.get_rng_state())


def test_a_layer_that_is_not_there_lists_those_that_are(lenet):
    with pytest.raises(UsageError, match="no layer 'conv9'") as caught:
        project(lenet, random_images(lenet), "conv9", torch.tensor([0]))
    assert "c1, s2" in caught.value.hint


def test_a_unit_that_is_not_there_names_the_range(lenet):
    with pytest.raises(UsageError, match="c3 has no unit 16") as caught:
        project(lenet, random_images(lenet), "c3", torch.tensor([16]))
    assert caught.value.hint == "its units are 0 to 15"


def test_an_unknown_signal_lists_the_three(lenet):
    with pytest.raises(UsageError, match="no signal 'saliency'") as caught:
        project(lenet, random_images(lenet), "c3", torch.tensor([0]), "saliency")
    assert "deconvnet, gradient, guided" in caught.value.hint
