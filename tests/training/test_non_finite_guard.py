"""From the first non-finite value on no update changes anything; the message names the step."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from cnnlab.config.training import (
    OPTIMIZERS,
    AdamwConfig,
    LevenbergMarquardtConfig,
    OptimizerConfig,
    SgdConfig,
)
from cnnlab.errors import NumericsError
from cnnlab.runtime import dropout_seeder
from cnnlab.training import losses, optimizers
from cnnlab.training.hooks import Every
from cnnlab.training.loop import TrainState, fit
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep

CPU = torch.device("cpu")

SHARED = {
    "learning_rate": 0.1,
    "weight_decay": 0.01,
    "decay_biases": True,
    "bias_rate_factor": 1.0,
    "groups": [],
}
CONFIGS = [
    SgdConfig(name="sgd", momentum=0.9, **SHARED),
    SgdConfig(name="sgd", momentum=0.0, **SHARED),
    SgdConfig(name="sgd_2012", momentum=0.9, **SHARED),
    AdamwConfig(name="adamw", beta1=0.9, beta2=0.99, epsilon=1e-8, **SHARED),
    LevenbergMarquardtConfig(
        name="levenberg_marquardt", damping=0.02, num_curvature_images=10, **SHARED
    ),
]
"""One of each update rule, and SGD without its momentum: a test compares them with the table."""


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def batches_with_one_bad_value(
    bad_step: int, bad_value: float, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    step = start
    while True:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(8, 4, generator=generator)
        if step == bad_step:
            images[3, 2] = bad_value
        yield images, torch.arange(8) % 3
        step += 1


def train(
    config: OptimizerConfig,
    bad_step: int,
    *,
    total_steps: int = 12,
    check_steps: int = 4,
    bad_value: float = float("nan"),
    rate_at: Callable[[int], float] = lambda step: 1.0,
) -> TrainState:
    state = TrainState(network(), optimizers.build(config, network()))
    state.optimizer = optimizers.build(config, state.model)
    guard = NonFiniteGuard(CPU)
    step = TrainStep(losses.of_network(losses.cross_entropy), guard, dropout_seeder(0, CPU))
    hooks = [Every(check_steps, lambda state, report: guard.check(state))]
    try:
        fit(
            state,
            batches_with_one_bad_value(bad_step, bad_value, 0),
            step,
            rate_at,
            hooks,
            total_steps,
        )
    except NumericsError as error:
        state.stop_reason = str(error)
    return state


def everything(state: TrainState) -> list[Tensor]:
    held = optimizers.optimizer_tensors(state.optimizer, state.model)
    return [p.detach() for p in state.model.parameters()] + list(held.values())


def test_every_update_rule_is_tried() -> None:
    assert {config.name for config in CONFIGS} == OPTIMIZERS.keys()


@pytest.mark.parametrize("bad_step", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}")
def test_weights_and_momenta_stay_those_of_the_last_good_step(
    config: OptimizerConfig, bad_step: int
) -> None:
    stopped = train(config, bad_step)
    good = train(config, -1, total_steps=bad_step)
    assert stopped.stop_reason is not None
    for held, expected in zip(everything(stopped), everything(good), strict=True):
        assert torch.equal(held, expected)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}")
def test_an_infinite_gradient_alone_changes_nothing(config: OptimizerConfig) -> None:
    """The loss of that step is a number; one weight's gradient has overflowed."""
    state = train(config, -1, total_steps=3)
    before = [tensor.clone() for tensor in everything(state)]
    guard = NonFiniteGuard(CPU)
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
        parameter.grad.view(-1)[0] = float("inf")
    loss, norm = torch.tensor(2.5), torch.tensor(float("inf"))
    guard.look(loss, norm)
    guard.note(loss, norm, state.optimizer)
    state.optimizer.step()
    for held, expected in zip(everything(state), before, strict=True):
        assert torch.equal(held, expected)
    with pytest.raises(NumericsError, match=r"loss 2\.5"):
        guard.check(state)


@pytest.mark.parametrize("bad_step", [0, 3, 4, 9])
def test_the_message_names_step_loss_and_rate_of_the_first_bad_step(bad_step: int) -> None:
    state = train(CONFIGS[0], bad_step, rate_at=lambda step: 1 - step / 100)
    rate = 0.1 * (1 - bad_step / 100)
    assert state.stop_reason is not None
    assert f"at step {bad_step}: loss nan" in state.stop_reason
    assert f"learning rate {rate:g}" in state.stop_reason


@pytest.mark.parametrize("bad_value", [float("inf"), -float("inf")])
def test_infinite_inputs_are_noticed_as_well(bad_value: float) -> None:
    assert train(CONFIGS[0], 5, bad_value=bad_value).stop_reason is not None


def test_the_guard_lets_every_update_of_a_finite_run_through() -> None:
    state = train(CONFIGS[0], -1, total_steps=40)
    assert (state.step, state.stop_reason) == (40, None)
