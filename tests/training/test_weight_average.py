"""The moving average of the weights, against slow versions of it and against torch's own."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.losses import cross_entropy, of_network
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.optimizers import Sgd
from cnnlab.training.steps import TrainStep
from cnnlab.training.weight_average import AveragingStep, WeightAverage

CPU, DECAY = torch.device("cpu"), 0.8
DONE, SKIPPED = torch.tensor(0.0), torch.tensor(1.0)


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A network with a buffer of each kind: running statistics, and their integer count."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).to(
            dtype
        )


def batch(number: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(8, 6, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(0, 3, (8,), generator=generator)


def begin(dtype: torch.dtype, parts: int = 1) -> tuple[TrainState, WeightAverage, AveragingStep]:
    model = network(dtype)
    optimizer = Sgd([{"params": list(model.parameters()), "lr": 0.1, "base_rate": 0.1}])
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    average = WeightAverage(model, DECAY)
    loss = of_network(cross_entropy)
    step = TrainStep(loss, NonFiniteGuard(CPU), lambda number: None, num_parts=parts)
    return TrainState(model, optimizer), average, AveragingStep(step, average)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_average_is_that_of_a_loop_over_numbers(parts: int) -> None:
    """In float64, number by number; the first update starts it, buffers are the network's."""
    state, average, step = begin(torch.float64, parts)
    expected: list[list[float]] = []
    for number in range(6):
        step(state, *batch(number, torch.float64))
        now = [p.detach().flatten().tolist() for p in state.model.parameters()]
        if not expected:
            expected = now
        expected = [
            [DECAY * e + (1 - DECAY) * w for e, w in zip(es, ws, strict=True)]
            for es, ws in zip(expected, now, strict=True)
        ]

    for found, wanted in zip(average.network.parameters(), expected, strict=True):
        assert found.flatten().tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-15)
        assert not found.requires_grad
    for ours, theirs in zip(average.network.buffers(), state.model.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_average_is_torchs_own_bit_for_bit() -> None:
    state, average, step = begin(torch.float32)
    torchs = AveragedModel(state.model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    for number in range(6):
        step(state, *batch(number, torch.float32))
        torchs.update_parameters(state.model)
    ours, theirs = average.network.state_dict(), torchs.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_itself_is_the_same_bits_with_an_average() -> None:
    states = [begin(torch.float32) for _ in range(2)]
    for number in range(3):
        images, labels = batch(number, torch.float32)
        states[0][2](states[0][0], images, labels)
        states[1][2]._step(states[1][0], images, labels)
    one, other = (state.model.state_dict() for state, _, _ in states)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("updates", [0, 3])
def test_after_a_gradient_that_is_not_finite_nothing_is_averaged(updates: int) -> None:
    """Neither weights nor the statistics that the bad batch has spoiled."""
    state, average, step = begin(torch.float32)
    for number in range(updates):
        step(state, *batch(number, torch.float32))
    before = copy.deepcopy(average.network.state_dict())

    images, labels = batch(9, torch.float32)
    images[0] = float("inf")
    step(state, images, labels)

    assert not all(bool(torch.isfinite(b).all()) for b in state.model.buffers())
    after = average.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_restart_begins_with_the_weights_of_that_moment() -> None:
    state, average, step = begin(torch.float32)
    for number in range(3):
        step(state, *batch(number, torch.float32))
    average.restart()
    found, wanted = average.network.state_dict(), state.model.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert average.num_updates == 0


def test_a_network_made_of_parameters_on_a_device_of_their_own_is_followed() -> None:
    """Groups by type stand for groups by device: a half in float64 is averaged with its half."""
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2).double()])
    average = WeightAverage(model, DECAY)
    first = [p.detach().clone() for p in model.parameters()]
    average.update(DONE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update(DONE)
    average.update(SKIPPED)
    for found, start in zip(average.network.parameters(), first, strict=True):
        torch.testing.assert_close(found, start + (1 - DECAY))


def test_the_report_of_an_update_is_passed_on() -> None:
    state, _, step = begin(torch.float32)
    assert isinstance(step(state, *batch(0, torch.float32)), StepReport)
