import pytest
import torch

from cnnlab.models import MODELS
from tests.reference.visualization import LIGHT_HEAD, field_by_gradient, network

ALEXNET = {"initialization": "kaiming", **LIGHT_HEAD}
CASES = [
    ("linear", 1, 20, {}),
    ("mlp", 1, 20, {}),
    ("lenet5", 1, 32, {"pooling": "max"}),
    ("lenet5", 1, 36, {"pooling": "average"}),
    ("alexnet", 3, 224, {"geometry": "224_ceil", **ALEXNET}),
    ("alexnet", 3, 227, {"geometry": "227", **ALEXNET}),
    ("alexnet", 3, 224, {"geometry": "224_pad2", **ALEXNET}),
    ("alexnet", 3, 224, {"pooling": "non_overlapping", **ALEXNET}),
]


def test_every_model_of_the_table_is_among_the_cases():
    assert {name for name, *_ in CASES} == set(MODELS)


@pytest.mark.parametrize(("name", "channels", "size", "changes"), CASES)
def test_the_formula_equals_what_gradients_find(name, channels, size, changes):
    net = network(name, channels=channels, size=size, **changes).float()
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(2 if size > 100 else 16, channels, size, size, generator=generator)
    shapes = {key: maps.shape for key, maps in net.activations(images[:1]).items()}
    for layer, field in net.receptive_fields.items():
        width = shapes[layer][-1] if len(shapes[layer]) == 4 else 1
        places = sorted({0, width // 2, width - 1})
        for row, column in zip(places, reversed(places), strict=True):
            found = field_by_gradient(net, layer, row, column, images)
            corner = [field.start_pixels + place * field.jump_pixels for place in (row, column)]
            first = tuple(max(0, one) for one in corner)
            last = tuple(min(size, one + field.size_pixels) - 1 for one in corner)
            assert found == first + last, f"{layer} at {row}, {column}"
