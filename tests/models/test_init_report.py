"""What a network makes of images at step 0."""

import pytest
import torch

from cnnlab.models import Layer, Network, Task
from cnnlab.models.init_report import report_start


@pytest.fixture(scope="module")
def photographs():
    """Images with the statistics of photographs less their mean image: smooth, scale about 70."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, 3, 16, 16, generator=generator)
    return 70 * torch.nn.functional.interpolate(coarse, size=224, mode="bilinear")


def test_figures_of_a_layer_are_what_their_names_say():
    units = torch.tensor([[1.0, 0.0, 5.0], [3.0, 0.0, 5.0]])
    network = Network([Layer("flatten", "flatten", torch.nn.Flatten())], Task(3, 1, 3))
    (layer,) = report_start(network, units[:, :, None, None]).layers
    assert layer.mean == pytest.approx(14 / 6)
    assert layer.std == pytest.approx(units.std(correction=0).item())
    assert layer.dead_share == pytest.approx(1 / 3)
    assert layer.signal == pytest.approx((1 / 3) ** 0.5)  # deviations over images: 1, 0, 0
    assert layer.signal_share == pytest.approx((1 / 3) ** 0.5 / 10**0.5)


@pytest.mark.parametrize(
    ("initialization", "as_levels", "over_70"),
    [
        ("paper", False, False),
        ("source", True, False),
        pytest.param("caffe", False, False, marks=pytest.mark.slow),
        pytest.param("kaiming", True, True, marks=pytest.mark.slow),
    ],
)
def test_report_tells_settings_that_train_from_those_that_stall(
    build, photographs, initialization, as_levels, over_70
):
    network = build("alexnet_two_tower", classes=10, initialization=initialization)
    assert report_start(network, photographs).can_train is as_levels
    assert report_start(network, photographs / 70).can_train is over_70


def test_reporting_changes_neither_weights_nor_mode_nor_random_state(build):
    network = build("lenet5", dropout=0.5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, state = torch.randn(4, 1, 32, 32), torch.random.get_rng_state()
    report_start(network, images)
    assert network.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_document_is_plain_and_complete(build):
    document = report_start(build("lenet5"), torch.randn(4, 1, 32, 32)).as_document()
    assert list(document) == ["score_signal", "score_share", "can_train", "layers"]
    assert document["layers"][-1]["name"] == "output"
    assert document["score_signal"] == document["layers"][-1]["signal"]
