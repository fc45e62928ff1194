"""The captured step: losses, norms and weights of the eager one, bit for bit, with a fake graph.

The fake (fake_graphs.py) repeats what was captured on the memory it was captured on, so that a
stale batch, rate, mask or report shows. tests/pretended/test_captured.py repeats the operations
one by one, and tests/trainer/test_train_gpu.py has graphs of a real GPU.
"""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn

from cnnlab.config.training import AdamwConfig, OptimizerConfig, SgdConfig
from cnnlab.errors import NumericsError
from cnnlab.runtime import dropout_seeder
from cnnlab.training import captured, losses, optimizers
from cnnlab.training.captured import MOST_GRAPHS, NUM_EAGER, Captured, CapturedStep
from cnnlab.training.loop import Batches, StepReport, TrainState, fit
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep
from tests.training.fake_graphs import FakeGraphs

CPU = torch.device("cpu")
SHARED = {"weight_decay": 0.01, "decay_biases": False, "bias_rate_factor": 2.0, "groups": []}
SGD = SgdConfig(name="sgd", learning_rate=0.1, momentum=0.9, **SHARED)  # type: ignore[arg-type]
OF_2012 = SgdConfig(name="sgd_2012", learning_rate=0.1, momentum=0.9, **SHARED)  # type: ignore[arg-type]
ADAMW = AdamwConfig(
    name="adamw",
    learning_rate=0.01,
    beta1=0.9,
    beta2=0.99,
    epsilon=1e-8,
    **SHARED,  # type: ignore[arg-type]
)
SIZES = (8, 8, 8, 5, 8, 8, 8, 5, 8, 8, 8, 5, 8, 8, 8, 5)
"""Images of each batch; every fourth ends an epoch."""

Rate = Callable[[int], float]
CONSTANT: Rate = lambda step: 1.0  # noqa: E731
DROPS: Rate = lambda step: 0.1 ** (step // 10)  # noqa: E731
EACH_STEP: Rate = lambda step: 1 - step / 20  # noqa: E731
ZERO_FIRST: Rate = lambda step: float(step >= 6)  # noqa: E731


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        return nn.Sequential(*layers, nn.Linear(48, 4))


def batches(bad_step: int | None = None) -> Batches:
    generator = torch.Generator().manual_seed(2)
    for step, number in enumerate(SIZES):
        images = torch.randn(number, 1, 6, 6, generator=generator)
        if step == bad_step:
            images[0] = float("inf")
        yield images, torch.randint(0, 4, (number,), generator=generator)


class Run:
    """A training of len(SIZES) updates, with a fake graph or without."""

    def __init__(
        self, config: OptimizerConfig, rate_at: Rate, *, captures: bool, in_one_pass: bool = False
    ) -> None:
        self.model, self.guard = network(), NonFiniteGuard(CPU)
        self.optimizer = optimizers.build(config, self.model, in_one_pass=in_one_pass)
        self.state = TrainState(self.model, self.optimizer)
        self.reports: list[StepReport] = []
        self.graphs = FakeGraphs(self.changed, lambda: self.optimizer)
        self.rate_at = rate_at
        self.train_step = TrainStep(
            losses.of_network(losses.cross_entropy),
            self.guard,
            dropout_seeder(0, CPU),
            clip_gradient_norm=1.5,
        )
        self.step = CapturedStep(self.train_step, self.graphs) if captures else self.train_step

    def changed(self) -> Iterator[Tensor]:
        """Yield what an update changes, gradients and the guard's flags among them."""
        yield from self.model.state_dict().values()
        yield from optimizers.optimizer_tensors(self.optimizer, self.model).values()
        yield from (p.grad for p in self.model.parameters() if p.grad is not None)
        yield from (self.guard._zero_or_nan, self.guard._found_inf)

    def train(self, bad_step: int | None = None) -> "Run":
        keep = lambda state, report: self.reports.append(report)  # noqa: E731
        fit(self.state, batches(bad_step), self.step, self.rate_at, [keep], len(SIZES))
        return self

    def everything(self) -> list[Tensor]:
        """Return the reports, as they are when all steps were made, and the final state."""
        reported = [part for r in self.reports for part in (r.loss, r.gradient_norm)]
        state = optimizers.optimizer_tensors(self.optimizer, self.model)
        return [*reported, *self.model.state_dict().values(), *state.values()]


def agree(one: Run, other: Run) -> bool:
    pairs = zip(one.everything(), other.everything(), strict=True)
    return all(torch.equal(mine, yours) for mine, yours in pairs)


CASES = {
    "sgd": (SGD, CONSTANT, False),
    "sgd, a rate that drops": (SGD, DROPS, False),
    "sgd, another rate at each step": (SGD, EACH_STEP, False),
    "sgd, a rate of zero at first": (OF_2012, ZERO_FIRST, False),
    "sgd_2012, a rate that drops": (OF_2012, DROPS, False),
    "sgd_2012 in one pass, a rate that drops": (OF_2012, DROPS, True),
    "adamw": (ADAMW, DROPS, False),
}


def pair(case: str) -> tuple[Run, Run]:
    config, rate_at, in_one_pass = CASES[case]
    eager, captures = (
        Run(config, rate_at, captures=how, in_one_pass=in_one_pass) for how in (False, True)
    )
    return eager, captures


@pytest.mark.parametrize("case", CASES)
def test_a_captured_training_is_the_eager_one_bit_for_bit(case: str) -> None:
    eager, captures = pair(case)
    assert agree(captures.train(), eager.train())
    assert captures.graphs.num_replays > 0


def test_each_layout_is_captured_after_some_eager_steps_and_the_update_while_its_rates_stay() -> (
    None
):
    _, captures = pair("sgd, another rate at each step")
    captures.train()
    num_whole, num_short = SIZES.count(8) - NUM_EAGER, SIZES.count(5) - NUM_EAGER
    assert captures.graphs.num_captures == 2  # no update
    assert captures.graphs.num_replays == num_whole + num_short

    _, captures = pair("sgd")
    captures.train()
    assert captures.graphs.num_captures == 3  # and the update of whole batches
    assert captures.graphs.num_replays == num_whole + num_short + num_whole - NUM_EAGER


def test_no_more_shapes_than_most_graphs_are_captured() -> None:
    graphs = FakeGraphs(list, None)
    doubling = Captured(lambda x: [2 * x], graphs)
    for _ in range(NUM_EAGER + 1):
        for size in range(1, MOST_GRAPHS + 3):
            given = torch.full((size,), float(size))
            doubling.prepare(given)
            (found,) = doubling.run(given)
            assert found.tolist() == [2.0 * size] * size
    assert graphs.num_captures == graphs.num_replays == MOST_GRAPHS


@pytest.mark.parametrize("bad_step", [1, NUM_EAGER + 4])
def test_a_captured_step_that_is_not_finite_changes_nothing_and_is_named(bad_step: int) -> None:
    eager, captures = pair("sgd, a rate that drops")
    for run in (eager, captures):
        run.train(bad_step)
        with pytest.raises(NumericsError, match=f"at step {bad_step}: loss") as raised:
            run.guard.check(run.state)
        assert raised.value.where == f"learning rate {0.1 * DROPS(bad_step):g}"
    for mine, yours in zip(captures.model.parameters(), eager.model.parameters(), strict=True):
        assert torch.equal(mine, yours)


def without_copying_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Captured.run

    def stale(self: Captured, *inputs: Tensor, key: object = None) -> Sequence[Tensor]:
        graph = self._graphs.get((key, *map(captured._layout, inputs)))
        return run(self, *(graph.inputs if graph else inputs), key=key)

    monkeypatch.setattr(Captured, "run", stale)


def without_noticing_a_new_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Captured, "forget", lambda self: None)


def without_copying_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "StepReport", lambda loss, norm, number: StepReport(*shared))
    shared: list[Tensor | int] = [torch.zeros(()), torch.zeros(()), 8]


def without_seeding(monkeypatch: pytest.MonkeyPatch) -> None:
    make = CapturedStep.__init__

    def unseeded(self: CapturedStep, *args: object) -> None:
        make(self, *args)  # type: ignore[arg-type]
        self._seed_dropout = lambda pass_number: None

    monkeypatch.setattr(CapturedStep, "__init__", unseeded)


@pytest.mark.parametrize(
    "plant",
    [
        without_copying_the_batch,
        without_noticing_a_new_rate,
        without_copying_the_report,
        without_seeding,
    ],
)
def test_a_planted_fault_of_a_graph_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    eager, captures = pair("sgd, a rate that drops")
    assert not agree(captures.train(), eager.train())


def test_parts_of_a_batch_are_not_captured() -> None:
    run = Run(SGD, CONSTANT, captures=False)
    run.train_step.num_parts = 2
    with pytest.raises(AssertionError, match="seed of its own"):
        CapturedStep(run.train_step, run.graphs)
