"""What the framework adds to a bare training step, counted: operators, waits, Python calls.

Times belong to the benchmarks; these counts are the same on every machine.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from cnnlab.config.schedules import ScheduleConfig
from cnnlab.config.training import SgdConfig
from cnnlab.runtime import dropout_seeder
from cnnlab.training import losses, optimizers, schedules
from cnnlab.training.hooks import Every, RunningLoss
from cnnlab.training.loop import Batches, TrainState, fit
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep

CPU = torch.device("cpu")
NUM_STEPS = 5

MAX_EXTRA_OPERATORS = 10
"""The gradient's norm (3), the guard (3), sum over count forward and backward (2), the report (1)
and the running loss (1): single numbers all but the norm, whatever the network."""

MAX_PYTHON_CALLS = 19
"""Calls of functions of cnnlab in one step: loop, step, loss, dropout seed, the share of
other processes, latch, hooks, two comprehensions. The update itself is part of a bare loop too."""


class Operators(TorchDispatchMode):
    """Count the operators that reach torch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = torch.randn(8, 4), torch.arange(8) % 3
    while True:
        yield images, labels


def config() -> SgdConfig:
    return SgdConfig(
        name="sgd",
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.001,
        decay_biases=True,
        bias_rate_factor=1.0,
        groups=[],
    )


def bare_loop() -> Callable[[], None]:
    """Return the loop that anyone would write by hand, with the same update."""
    model = network()
    optimizer = optimizers.build(config(), model)
    source = batches()

    def run() -> None:
        for _ in range(NUM_STEPS):
            images, labels = next(source)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()

    return run


def our_loop() -> Callable[[], None]:
    model = network()
    state = TrainState(model, optimizers.build(config(), model))
    guard = NonFiniteGuard(CPU)
    step = TrainStep(losses.of_network(losses.cross_entropy), guard, dropout_seeder(0, CPU))
    schedule = schedules.build(ScheduleConfig(name="constant"), NUM_STEPS, NUM_STEPS)
    hooks = [RunningLoss(CPU), Every(1000, lambda state, report: guard.check(state))]
    source: Batches = batches()

    def run() -> None:
        fit(state, source, step, schedule.rate_at, hooks, state.step + NUM_STEPS)

    return run


def operators_per_step(run: Callable[[], None]) -> Counter[str]:
    run()  # whatever the first step does once
    with Operators() as counted:
        run()
    return Counter({name: count / NUM_STEPS for name, count in counted.counts.items()})


def test_the_loop_adds_few_operators_to_a_step() -> None:
    ours, bare = operators_per_step(our_loop()), operators_per_step(bare_loop())
    extra = ours - bare
    assert extra.total() <= MAX_EXTRA_OPERATORS, extra
    missing = [name for name in bare - ours if not name.startswith("profiler.")]  # marks, no work
    assert not missing, "work went missing"


@pytest.mark.parametrize(
    "waiting", ["aten._local_scalar_dense.default", "aten.equal.default", "aten.is_nonzero.default"]
)
def test_no_step_waits_for_the_device(waiting: str) -> None:
    assert operators_per_step(our_loop())[waiting] == 0


def test_a_check_waits_once_when_all_is_well() -> None:
    guard = NonFiniteGuard(CPU)
    state = TrainState(network(), torch.optim.SGD(network().parameters(), lr=0.1))
    guard.look(torch.tensor(1.0), torch.tensor(1.0))
    guard.note(torch.tensor(1.0), torch.tensor(1.0), state.optimizer)
    state.step = 1
    with Operators() as counted:
        guard.check(state)
    assert counted.counts["aten._local_scalar_dense.default"] == 1


def test_the_loop_makes_few_python_calls() -> None:
    run, calls = our_loop(), Counter[str]()
    run()

    def note(frame: FrameType, event: str, argument: object) -> None:
        place = frame.f_code.co_filename
        if event == "call" and "/cnnlab/" in place and place != optimizers.__file__:
            calls[frame.f_code.co_qualname] += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    assert calls.total() / NUM_STEPS <= MAX_PYTHON_CALLS, calls
