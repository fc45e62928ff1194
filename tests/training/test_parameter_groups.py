"""Parameter groups: what each layer's weights and biases are trained with, at every step."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab import models
from cnnlab.config import choices, parse_model, to_plain
from cnnlab.config.schema import parse
from cnnlab.config.training import OPTIMIZERS, OptimizerConfig
from cnnlab.errors import UsageError
from cnnlab.training import optimizers
from cnnlab.training.loop import set_rates
from cnnlab.training.parameter_groups import parameter_groups

RULES = tuple(OPTIMIZERS)


def config_of(rule: str, *groups: dict[str, Any], **changes: Any) -> OptimizerConfig:
    usual = {"learning_rate": 0.1, "weight_decay": 0.01}
    plain = choices.alone("optimizer", rule) | usual | changes | {"groups": list(groups)}
    return parse(OptimizerConfig, plain, "optimizer")


def network() -> nn.Sequential:
    """Two layers with weights and biases, and a bias for each of four positions."""
    model = nn.Sequential()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model.add_module("c1", nn.Conv2d(1, 2, 3))
        model.add_module("f2", nn.Linear(2, 2))
        model.add_module("local3", nn.Module())
        model.local3.register_parameter("weight", nn.Parameter(torch.ones(4, 2, 2)))
        model.local3.register_parameter("bias", nn.Parameter(torch.ones(2, 2, 2)))
    return model


Row = tuple[float, float]


def by_parameter(config: OptimizerConfig, step: int = 0, factor: float = 1.0) -> dict[str, Row]:
    """Return rate and weight decay of each parameter at a step; ten steps are an epoch."""
    model = network()
    optimizer = optimizers.build(config, model, 10)
    set_rates(optimizer, step, factor)
    names = {p: name for name, p in model.named_parameters()}
    rows = [
        (names[p], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(rows) == len(names), "each parameter is in one group"
    return dict(rows)


def test_a_group_changes_its_layers_and_no_other() -> None:
    usual = by_parameter(config_of("sgd"))
    own = by_parameter(
        config_of("sgd", {"layers": ["f2"], "parameters": "weights", "weight_decay": 0.5})
    )

    assert own == usual | {"f2.weight": (0.1, 0.5)}


def test_a_group_without_layers_has_all_that_no_other_names() -> None:
    found = by_parameter(
        config_of(
            "sgd",
            {"rate_factor": 3},
            {"layers": ["c1"], "parameters": "biases", "rate_factor": 2},
            bias_rate_factor=10,
            decay_biases=False,
        )
    )

    biases = pytest.approx((3.0, 0.0))
    assert found["c1.bias"] == pytest.approx((2.0, 0.0))
    assert found["f2.bias"] == biases
    assert found["local3.bias"] == biases
    assert {found[f"{name}.weight"] for name in ("c1", "f2", "local3")} == {(0.1 * 3, 0.01)}


def test_the_bias_of_each_position_is_a_bias() -> None:
    found = by_parameter(config_of("sgd", bias_rate_factor=2.0, decay_biases=False))

    assert found["local3.bias"] == found["f2.bias"] == (0.2, 0.0)
    assert found["local3.weight"] == (0.1, 0.01)


@pytest.mark.parametrize("rule", RULES)
def test_fractions_replace_the_schedule_from_their_epoch_on(rule: str) -> None:
    own = {"layers": ["c1"], "at_epochs": [1.5, 3], "fractions": [0.25, 0]}
    config = config_of(rule, own, bias_rate_factor=2.0)

    rates = [by_parameter(config, step, factor=0.5) for step in (14, 15, 29, 30)]
    assert [rate["c1.weight"][0] for rate in rates] == [0.05, 0.025, 0.025, 0.0]
    assert [rate["c1.bias"][0] for rate in rates] == [0.1, 0.05, 0.05, 0.0]
    assert {rate["f2.weight"][0] for rate in rates} == {0.05}


@pytest.mark.parametrize("rule", RULES)
def test_parameters_at_rate_0_stay_although_they_had_a_velocity(rule: str) -> None:
    config = config_of(rule, {"layers": ["c1"], "at_epochs": [0.3], "fractions": [0]})
    model = network()
    optimizer = optimizers.build(config, model, 10)
    seen: list[tuple[Tensor, Tensor]] = []
    for step in range(5):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        set_rates(optimizer, step, 1.0)
        optimizer.step()
        seen.append((model.c1.weight.detach().clone(), model.f2.weight.detach().clone()))

    moved = [
        [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
        for before, after in itertools.pairwise(seen)
    ]
    assert moved == [[True, True], [True, True], [False, True], [False, True]]


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        ({"layers": ["cl"]}, r"the parameters of cl: no layer 'cl' has weights"),
        ({"layers": ["c1", "relu"]}, r"no layer 'relu' has weights"),
    ],
)
def test_a_layer_that_the_network_lacks_is_refused(group: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        parameter_groups(config_of("sgd", group | {"rate_factor": 2}), network())
    assert "c1, f2, local3" in str(raised.value)
    assert ("did you mean 'c1'?" in str(raised.value)) == (group["layers"] == ["cl"])


def test_a_group_that_trains_nothing_is_refused() -> None:
    model = network()
    model.c1.requires_grad_(False)
    frozen = config_of("sgd", {"layers": ["c1"], "parameters": "weights", "rate_factor": 2})
    with pytest.raises(UsageError, match="c1 has no weights to train"):
        parameter_groups(frozen, model)

    named = {"layers": ["f2", "local3"], "rate_factor": 2}
    with pytest.raises(UsageError, match="all other layers are none"):
        parameter_groups(config_of("sgd", named, {"rate_factor": 3}), model)


WRONG: list[tuple[list[dict[str, Any]], str]] = [
    ([{"layers": ["c1"]}], "with the parameters of c1 changes nothing"),
    ([{"layers": [], "rate_factor": 2}], r"layers=\[\]"),
    ([{"layers": ["c1"], "rate": 2}], r"'optimizer.groups\[0\].rate' is not a setting"),
    ([{"parameters": "weight", "rate_factor": 2}], "must be one of weights, biases, or null"),
    ([{"at_epochs": [1], "fractions": [1, 0]}], "has 1 at_epochs and 2 fractions"),
    ([{"at_epochs": [], "fractions": []}], "has 0 at_epochs and 0 fractions"),
    ([{"rate_factor": 2, "fractions": [0]}], "has 0 at_epochs and 1 fractions"),
    ([{"at_epochs": [2, 1], "fractions": [1, 0]}], "must be ascending"),
    ([{"at_epochs": [1], "fractions": [-1]}], r"fractions\[0\] must be a number at least 0"),
    ([{"layers": ["c1", "c1"], "rate_factor": 2}], "the weights of c1 twice"),
    ([{"rate_factor": 2}, {"parameters": "biases", "rate_factor": 2}], "biases of all other"),
    ([{"parameters": "biases", "weight_decay": 0.1}], "weight_decay of the biases of all other"),
    ([3], r"optimizer.groups\[0\] must be a mapping"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("groups", "complaint"), WRONG)
def test_groups_that_cannot_be_meant_are_refused(
    groups: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        config_of("sgd", *groups, decay_biases=False)


def test_groups_survive_being_written_down() -> None:
    config = config_of("sgd", {"layers": ["c1"], "at_epochs": [1], "fractions": [0]})

    assert parse(OptimizerConfig, to_plain(config), "optimizer") == config


def test_a_layer_in_two_towers_is_one_layer() -> None:
    plain = choices.alone("model", "alexnet_two_gpu")
    model = parse_model(plain | {"devices": ["cpu", "cpu"], "width": 0.0625})
    task = {"in_channels": 1, "input_size_pixels": 64, "num_classes": 2}
    network = models.build(model, **task, seed=0)
    own = {"layers": ["conv1"], "parameters": "weights", "rate_factor": 2}

    names = {p: name for name, p in network.named_parameters()}
    groups = parameter_groups(config_of("sgd", own), network)
    (found,) = [group for group in groups if group["name"] == "weights of conv1"]

    assert [names[p] for p in found["params"]] == ["conv1.a.weight", "conv1.b.weight"]
