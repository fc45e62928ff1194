"""Update rules against slow versions, and the optimizer's state by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab.config.training import AdamwConfig, OptimizerConfig, SgdConfig
from cnnlab.errors import CheckpointError, UsageError
from cnnlab.training import optimizers
from cnnlab.training.loop import set_rates
from tests.reference.training import adamw, momentum_2012, torch_momentum

RATES = [1.0, 1.0, 0.1, 0.1, 0.5]
"""Factors of the rate: constant at first, then a drop and a rise."""


def sgd_config(name: str = "sgd", **changes: Any) -> SgdConfig:
    values = {
        "name": name,
        "learning_rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "decay_biases": True,
        "bias_rate_factor": 1.0,
        "groups": [],
    }
    return SgdConfig(**{**values, **changes})


def adamw_config(**changes: Any) -> AdamwConfig:
    values = {
        "name": "adamw",
        "learning_rate": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "epsilon": 1e-8,
        "weight_decay": 0.05,
        "decay_biases": True,
        "bias_rate_factor": 1.0,
        "groups": [],
    }
    return AdamwConfig(**{**values, **changes})


def one_weight(value: float) -> nn.Module:
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, value)
    return model


def run(config: OptimizerConfig, gradients: list[float]) -> list[float]:
    """Return a lone weight's values, started at 1.5, under the factors RATES."""
    model = one_weight(1.5)
    optimizer = optimizers.build(config, model)
    values = []
    for factor, gradient in zip(RATES, gradients, strict=True):
        set_rates(optimizer, 0, factor)
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
        values.append(model.weight.item())
    return values


def run_slowly(rule: Callable[..., tuple[float, float]], gradients: list[float]) -> list[float]:
    weight, velocity, values = 1.5, 0.0, []
    for factor, gradient in zip(RATES, gradients, strict=True):
        weight, velocity = rule(
            weight, gradient, velocity, rate=0.2 * factor, momentum=0.9, decay=0.01
        )
        values.append(weight)
    return values


GRADIENTS = [0.3, -1.2, 0.7, 0.05, -0.4]


@pytest.mark.parametrize(("name", "rule"), [("sgd", torch_momentum), ("sgd_2012", momentum_2012)])
def test_momentum_follows_its_formula_through_rate_changes(
    name: str, rule: Callable[..., tuple[float, float]]
) -> None:
    expected = run_slowly(rule, GRADIENTS)
    # float64: what remains is the order of a handful of roundings
    assert run(sgd_config(name), GRADIENTS) == pytest.approx(expected, rel=1e-14)


def test_the_two_momenta_agree_until_the_rate_drops() -> None:
    ours = run(sgd_config("sgd_2012"), GRADIENTS)
    theirs = run(sgd_config("sgd"), GRADIENTS)
    assert ours[:2] == pytest.approx(theirs[:2], rel=1e-14)
    assert abs(ours[2] - theirs[2]) > 1e-3


def test_adamw_follows_its_formula() -> None:
    model = one_weight(1.5)
    optimizer = optimizers.build(adamw_config(), model)
    for gradient in GRADIENTS:
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
    rule = {"rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "decay": 0.05}
    assert model.weight.item() == pytest.approx(adamw(1.5, GRADIENTS, **rule), rel=1e-12)


def test_without_momentum_sgd_keeps_no_state() -> None:
    model = one_weight(1.0)
    optimizer = optimizers.build(sgd_config(momentum=0.0), model)
    assert optimizers.optimizer_tensors(optimizer, model) == {}


def torch_s_own(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return torch.optim's rule for the same groups; it makes its state at the first update."""
    groups = optimizers.parameter_groups(config, model)
    if isinstance(config, SgdConfig):
        return torch.optim.SGD(groups, lr=0.2, momentum=config.momentum, fused=True)
    optimizer = optimizers.build(config, model)
    optimizer.state.clear()
    return optimizer


@pytest.mark.parametrize("config", [sgd_config(), sgd_config(momentum=0.0), adamw_config()])
def test_state_and_effect_are_those_of_torch_s_own(config: OptimizerConfig) -> None:
    results = []
    for build in (optimizers.build, torch_s_own):
        model = small_network()
        optimizer = build(config, model)
        for seed in range(3):
            set_gradients(model, seed)
            optimizer.step()
        states = optimizer.state.values()
        keys = {key for state in states for key, value in state.items() if value is not None}
        results.append((keys, [p.detach().clone() for p in model.parameters()]))
    assert results[0][0] == results[1][0]
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(ours, theirs)


def test_biases_and_norms_have_their_own_rate_and_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    config = sgd_config(bias_rate_factor=2.0, decay_biases=False)
    weights, biases = optimizers.parameter_groups(config, model)
    assert [p.dim() for p in weights["params"]] == [4, 2]
    assert [p.dim() for p in biases["params"]] == [1, 1, 1, 1]
    assert (weights["base_rate"], biases["base_rate"]) == (0.2, 0.4)
    assert (weights["weight_decay"], biases["weight_decay"]) == (0.01, 0.0)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert [g["name"] for g in optimizers.parameter_groups(sgd_config(), model)] == ["weights"]


def small_network(channels_last: bool = False) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    return model.to(memory_format=torch.channels_last) if channels_last else model


def set_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(noise)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("config", [sgd_config(), sgd_config("sgd_2012"), adamw_config()])
def test_state_by_name_continues_bit_identically(
    config: OptimizerConfig, channels_last: bool
) -> None:
    straight = small_network(channels_last)
    optimizer = optimizers.build(config, straight)
    for seed in range(2):
        set_gradients(straight, seed)
        optimizer.step()
    saved = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in optimizers.optimizer_tensors(optimizer, straight).items()
    }
    resumed = small_network(channels_last)
    resumed.load_state_dict(straight.state_dict())
    again = optimizers.build(config, resumed)
    optimizers.load_optimizer_tensors(again, resumed, saved)
    for seed in range(2, 5):
        for model, rule in ((straight, optimizer), (resumed, again)):
            set_gradients(model, seed)
            rule.step()
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()


def test_state_names_carry_the_parameter() -> None:
    model = small_network()
    names = optimizers.optimizer_tensors(optimizers.build(adamw_config(), model), model).keys()
    assert "optimizer.0.weight.exp_avg_sq" in names
    assert "optimizer.2.bias.step" in names
    assert len(names) == 4 * 3


def test_state_of_another_rule_is_refused() -> None:
    model = small_network()
    optimizer = optimizers.build(adamw_config(), model)
    other = optimizers.build(sgd_config(), model)
    with pytest.raises(CheckpointError, match="another optimizer or model"):
        optimizers.load_optimizer_tensors(
            optimizer, model, optimizers.optimizer_tensors(other, model)
        )


def test_state_of_another_shape_is_refused() -> None:
    model = small_network()
    optimizer = optimizers.build(sgd_config(), model)
    tensors = optimizers.optimizer_tensors(optimizer, model)
    tensors["optimizer.0.bias.momentum_buffer"] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=r"shape \[5\], expected \[4\]"):
        optimizers.load_optimizer_tensors(optimizer, model, tensors)


@pytest.mark.parametrize("rates", [(0.1, 0.1, 0.1), (0.1, 0.05, 0.05)])
def test_one_pass_of_the_rule_of_2012_is_its_two_to_rounding(rates: tuple[float, ...]) -> None:
    """Weights and biases of different rate and decay; the flag of a bad step is respected."""
    trained = []
    for in_one_pass in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(5, 3)
        config = sgd_config("sgd_2012", decay_biases=False, bias_rate_factor=2.0)
        optimizer = optimizers.build(config, model, in_one_pass=in_one_pass)
        for step, rate in enumerate((*rates, rates[-1])):
            set_rates(optimizer, step, rate)
            for weight in model.parameters():
                weight.grad = torch.full_like(weight, step - 1.3)
            optimizer.found_inf = torch.tensor(float(step == len(rates)))  # type: ignore[attr-defined]
            optimizer.step()
        trained.append(
            [*model.parameters(), *optimizers.optimizer_tensors(optimizer, model).values()]
        )
    for two, one in zip(*trained, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


def test_one_pass_is_refused_for_a_rule_that_has_one_already() -> None:
    with pytest.raises(UsageError, match="no effect on optimizer=sgd"):
        optimizers.build(sgd_config(), nn.Linear(5, 3), in_one_pass=True)


def test_groups_with_the_same_numbers_are_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    fused = torch._fused_sgd_

    def counted(weights: list[Tensor], *args: Any, **kwargs: Any) -> None:
        sizes.append(len(weights))
        fused(weights, *args, **kwargs)

    monkeypatch.setattr(torch, "_fused_sgd_", counted)
    for decay_biases in (True, False):
        model = nn.Linear(5, 3)
        optimizer = optimizers.build(sgd_config(decay_biases=decay_biases), model)
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert sizes == [2, 1, 1]
