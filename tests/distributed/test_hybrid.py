"""Which networks the hybrid scheme splits, and that its parts are the whole network's storage."""

from typing import Any

import pytest
import torch

from cnnlab import models
from cnnlab.config import choices, parse_train
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.distributed import ALONE, Peers, Share
from cnnlab.distributed.hybrid import Hybrid, split_layers
from cnnlab.errors import UsageError
from cnnlab.models.network import Layer, Network
from cnnlab.trainer import processes
from tests.test_config import composed


def network(name: str, side: int = 32, **changes: Any) -> models.Network:
    config = parse(ModelConfig, {**choices.alone("model", name), **changes})
    channels = 1 if name == "lenet5_1998" else 3
    return models.build(
        config, in_channels=channels, input_size_pixels=side, num_classes=10, seed=0
    )


NARROW = {"width": 0.0625}


@pytest.mark.parametrize(
    ("name", "side", "changes", "split"),
    [
        ("lenet5", 32, {}, ["f6"]),
        ("lenet5_1998", 32, {}, ["f6"]),
        ("mlp", 8, {}, ["fc1"]),
        ("alexnet_cifar", 32, NARROW, ["fc6", "fc7"]),
        ("alexnet_two_tower", 64, NARROW, ["fc6", "fc7"]),
    ],
)
def test_hidden_layers_are_split_and_scores_are_whole(
    name: str, side: int, changes: dict[str, Any], split: list[str]
) -> None:
    assert list(split_layers(network(name, side, **changes))) == split


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("linear", {}, "it has no fully connected layer besides"),
        ("alexnet", {"head": "single", **NARROW}, "it has no fully connected layer besides"),
        ("alexnet_two_tower", {"exchange": "none", **NARROW}, "fc6 is divided into groups"),
    ],
)
def test_a_network_that_cannot_be_split_is_refused(
    name: str, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=f"hybrid does not fit this network: {why}"):
        Hybrid(network(name, 32 if name == "linear" else 64, **changes))


def test_dropout_before_the_features_are_assembled_is_refused() -> None:
    plain = network("lenet5")
    layers = [Layer("early", "dropout", torch.nn.Dropout()), *plain.layers]
    with pytest.raises(UsageError, match="would differ between processes"):
        Hybrid(Network(layers, plain.task))


def test_each_process_trains_its_rows_of_the_whole_weights() -> None:
    whole = network("lenet5")
    before = whole.state_dict()["f6.weight"].clone()
    hybrid = Hybrid(whole, Peers(Share(1, 3)), overlaps=False)
    own = dict(hybrid.view(whole).named_parameters())
    with torch.no_grad():
        own["f6.weight"].zero_()

    assert own.keys() == dict(whole.named_parameters()).keys()
    assert own["c3.weight"] is whole.get_parameter("c3.weight")
    assert own["f6.weight"].shape == (28, 120)
    assert torch.equal(whole.get_parameter("f6.weight")[28:56], torch.zeros(28, 120))
    assert torch.equal(whole.get_parameter("f6.weight")[:28], before[:28])


def test_a_process_takes_its_rows_of_a_whole_state() -> None:
    hybrid = Hybrid(network("lenet5"), Peers(Share(1, 3)), overlaps=False)
    rows = torch.arange(84.0)
    state = {
        "optimizer.f6.bias.exp_avg": rows,
        "optimizer.f6.bias.step": torch.tensor(3.0),
        "optimizer.c3.bias.exp_avg": rows[:16],
        "optimizer.f6.weight.exp_avg": torch.zeros(7, 2),
    }
    own = hybrid.own_state(state)

    assert torch.equal(own["optimizer.f6.bias.exp_avg"], rows[28:56])
    for name in list(state)[1:]:
        assert own[name] is state[name], name


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("distributed.simulate=2", "computes in one process what several would"),
        ("distributed.scheme=hybrid saving.every_minutes=1", "their clocks differ"),
    ],
)
def test_settings_by_which_processes_would_not_act_as_one_are_refused(words: str, why: str) -> None:
    config = parse_train(composed("train", *words.split()))

    processes.check_scheme(ALONE, config)
    with pytest.raises(UsageError, match=why):
        processes.check_scheme(Peers(Share(0, 2)), config)
