"""What crosses over between the two devices of the 2012 network: counted, and by the formula."""

import math
from collections import Counter
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from cnnlab.models import towers
from cnnlab.models.summary import summarize

CPUS = {"devices": ["cpu", "cpu"]}


@pytest.fixture
def crossed(monkeypatch):
    """Count elements by target tower, at the one place where data crosses over."""
    counts = Counter()

    def copy_to(maps, tower, devices):
        counts[tower] += maps.numel()
        return maps.clone()

    monkeypatch.setattr(towers, "copy_to", copy_to)
    return counts


def exchanged(network):
    """Return elements sent forward per image: (to both towers, to tower 0 alone, to tower 1 alone).

    Both ways into conv3, fc6 and fc7, half of what is there; into fc8 on the first device from the
    second; the second device's half of two dropout masks. The images come from outside.
    """
    sizes = {row.name: math.prod(row.output_size) for row in summarize(network).rows}
    both = (sizes["pool2"] + sizes["pool5"] + sizes["fc6"]) // 2
    return both, sizes["fc7"] // 2, (sizes["fc6"] + sizes["fc7"]) // 2


def train_once(network, num_images):
    side = network.plan.input_size_pixels
    images = torch.randn(num_images, 3, side, side)
    F.cross_entropy(network(images), torch.arange(num_images)).backward()
    return images[0].numel()


def check(network, crossed, num_images):
    both, to_first, masks = exchanged(network)
    image = train_once(network, num_images)
    # backward each exchange goes the other way; masks and images have no gradient to send
    assert crossed[0] == num_images * (image + both + to_first + both)
    assert crossed[1] == num_images * (image + both + masks + both + to_first)


def test_as_much_crosses_over_as_the_formula_says(build, crossed, monkeypatch):
    monkeypatch.setattr(import_module("cnnlab.models.alexnet"), "HIDDEN_UNITS", 128)  # for speed
    check(build("alexnet_two_gpu", size=64, classes=10, **CPUS), crossed, 3)


@pytest.mark.slow
def test_the_published_network_exchanges_28288_numbers_an_image_and_direction(build, crossed):
    network = build("alexnet_two_gpu", **CPUS)

    assert exchanged(network) == (28_288, 2_048, 4_096)
    check(network, crossed, 2)
