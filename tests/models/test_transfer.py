"""Which layers take pretrained weights, and which are trained."""

from pathlib import Path

import pytest
import torch

from cnnlab import models
from cnnlab.config import choices, parse_model
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.models import Network, transfer
from cnnlab.models.transfer import Pretrained
from cnnlab.runtime import make_generator


def lenet5(*, seed: int = 0, num_classes: int = 10, size: int = 32) -> Network:
    config = parse_model(choices.alone("model", "lenet5"))
    return models.build(
        config, in_channels=1, input_size_pixels=size, num_classes=num_classes, seed=seed
    )


def pretrained_of(network: Network, name: str = "lenet5") -> Pretrained:
    return Pretrained(network.state_dict(), name, network.input_size_pixels, Path("old"))


def test_the_body_is_copied_and_the_head_stays_as_initialized() -> None:
    network, old = lenet5(seed=1, num_classes=3), lenet5(seed=2)
    head = network.output.weight.detach().clone()

    transfer.check_body(network, pretrained_of(old))
    transfer.load_body(network, pretrained_of(old))

    assert transfer.head_of(network) == "output"
    assert torch.equal(network.c1.weight, old.c1.weight)
    assert torch.equal(network.f6.bias, old.f6.bias)
    assert torch.equal(network.output.weight, head)


def test_the_rows_of_the_head_follow_the_classes() -> None:
    network, old = lenet5(seed=1), lenet5(seed=2)
    order = torch.arange(9, -1, -1)

    transfer.load_all(network, pretrained_of(old), order)

    assert torch.equal(network.output.weight, old.output.weight.flip(0))
    assert torch.equal(network.output.bias, old.output.bias.flip(0))


def test_a_head_of_another_size_leaves_the_network_unchanged() -> None:
    network, old = lenet5(seed=1, num_classes=3), lenet5(seed=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    with pytest.raises(UsageError, match="no row for each class"):
        transfer.load_all(network, pretrained_of(old), torch.tensor([2, 1, 0]))
    with pytest.raises(CheckpointError):
        transfer.load_all(network, pretrained_of(old), None)

    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_images_of_another_size_and_other_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="takes images of 36 pixels, it would get 32"):
        transfer.check_body(lenet5(), pretrained_of(lenet5(size=36)))

    linear = parse_model(choices.alone("model", "linear"))
    with pytest.raises(CheckpointError, match="another network, lenet5"):
        transfer.check_model(linear, pretrained_of(lenet5()))


@pytest.mark.parametrize("name", ["linear", "lenet5_1998", "alexnet", "alexnet_two_gpu"])
def test_another_model_is_refused_without_drawing_its_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AlexNet has 62 million, of which only the shapes are compared."""
    made: list[tuple[torch.Generator, torch.Tensor]] = []

    def remembered(seed: int, purpose: str) -> torch.Generator:
        generator = make_generator(seed, purpose)
        made.append((generator, generator.get_state()))
        return generator

    pretrained, config = pretrained_of(lenet5()), parse_model(choices.alone("model", name))
    monkeypatch.setattr(models, "make_generator", remembered)
    with pytest.raises(CheckpointError, match="another network, lenet5"):
        transfer.check_model(config, pretrained)

    ((generator, state),) = made
    assert torch.equal(generator.get_state(), state)


def test_layers_before_the_chosen_one_are_frozen() -> None:
    network = lenet5()
    transfer.freeze(network, "from:f6")
    assert [name for name in network.weighted if name in network.frozen] == ["c1", "c3", "c5"]

    with pytest.raises(UsageError, match="no layer 'c9' has weights"):
        transfer.freeze(network, "from:c9")
