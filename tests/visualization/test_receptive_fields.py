import dataclasses

import pytest
import torch

from cnnlab.config.models import MODELS
from cnnlab.models.towers import SplitNetwork
from tests.reference.visualization import LIGHT_HEAD, field_by_gradient, network


def light(name):
    """Return settings that leave out AlexNet's hidden layers and let the rest see signals."""
    has = {field.name for field in dataclasses.fields(MODELS[name].config_class)}
    wanted = (
        LIGHT_HEAD | {"devices": ["cpu", "cpu"]} | ({"width": 0.125} if name == "zfnet" else {})
    )
    return {key: value for key, value in wanted.items() if key in has}


SMALLER = {"alexnet_two_tower": 131, "alexnet_two_gpu": 131, "alexnet_2014": 127, "zfnet": 96}
"""Sides that the windows cover to the last pixel, as they do 224, and that take less time."""

CASES = [
    *(
        (name, row.usual_input[0], SMALLER.get(name, row.usual_input[1]), {})
        for name, row in MODELS.items()
    ),
    ("lenet5", 1, 36, {"pooling": "average"}),
    ("alexnet", 3, 131, {"geometry": "227"}),
    ("alexnet", 3, 127, {"geometry": "224_pad2"}),
    ("alexnet", 3, 128, {"pooling": "non_overlapping"}),
]


@pytest.mark.parametrize(("name", "channels", "size", "changes"), CASES)
def test_the_formula_equals_what_gradients_find(name, channels, size, changes):
    settings = light(name) | changes
    if name.startswith("alexnet"):
        settings["initialization"] = "kaiming"
    net = network(name, channels=channels, size=size, **settings).float()
    fields = net.receptive_fields
    net = net.grouped() if isinstance(net, SplitNetwork) else net
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(1 if size > 100 else 8, channels, size, size, generator=generator)
    images.requires_grad_()
    for layer, maps in net.activations(images).items():
        field = fields[layer]
        width = maps.shape[-1] if maps.dim() == 4 else 1
        places = sorted({0, width // 2, width - 1})
        for row, column in zip(places, reversed(places), strict=True):
            found = field_by_gradient(maps, row, column, images)
            corner = [field.start_pixels + place * field.jump_pixels for place in (row, column)]
            first = tuple(max(0, one) for one in corner)
            last = tuple(min(size, one + field.size_pixels) - 1 for one in corner)
            assert found == first + last, f"{layer} at {row}, {column}"
