"""A captured training on a pretended CUDA device, whose graphs are fake: what stays of a step.

A graph's replay counts as one kernel here: the host asks for it at once. The fake repeats the
operations, so that the training must come out as without capture.
"""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from cnnlab.training import captured, optimizers
from cnnlab.training.captured import NUM_EAGER
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, KERNEL, MIX, RACE, WAIT, Record
from tests.pretended.runs import CASES, Training
from tests.training.fake_graphs import FakeGraphs

LENET5 = (*CASES["lenet5 with dropout"], "schedule=constant", "runtime.capture=true")
ALEXNET = (
    *CASES["narrow alexnet"],
    *("schedule=constant", "runtime.capture=true", "runtime.fused_update=true"),
)
EVALUATING = ("runtime.fast_evaluation=true",)
LEFT = {LENET5: 19, ALEXNET: 24}
"""Kernels of a captured step, two of them replays: the batch, its augmentation, reports."""


class PretendedGraphs(FakeGraphs):
    """Fake graphs of a training that is made later; a replay is recorded as one kernel."""

    def __init__(self, record: Record) -> None:
        super().__init__(self._changed_by_a_step, lambda: self.training().parts.optimizer)
        self._record, self._training = record, None

    def of(self, training: Training) -> Training:
        self._training = training
        return training

    def training(self) -> Training:
        assert self._training is not None
        return self._training

    def _changed_by_a_step(self) -> Iterator[Tensor]:
        parts = self.training().parts
        yield from parts.network.state_dict().values()
        yield from optimizers.optimizer_tensors(parts.optimizer, parts.network).values()
        yield from (p.grad for p in parts.network.parameters() if p.grad is not None)
        yield from (parts.guard._zero_or_nan, parts.guard._found_inf)

    def __call__(
        self, compute: Callable[[], Sequence[Tensor]]
    ) -> tuple[Sequence[Tensor], Callable[[], None]]:
        results, replay = super().__call__(compute)

        def recorded() -> None:
            events = len(self._record.events)
            replay()
            faults = [e for e in self._record.events[events:] if e.kind != KERNEL]
            self._record.events[events:] = faults
            self._record.add(KERNEL, "replay")

        return results, recorded


def start(words: tuple[str, ...], record: Record, patch: pytest.MonkeyPatch) -> Training:
    """Assemble a training on a pretended device, whose graphs are fake."""
    graphs = PretendedGraphs(record)
    patch.setattr(captured, "cuda_graphs", lambda device: graphs)
    return graphs.of(Training.start(words, "cuda:0"))


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(LENET5, id="lenet5"),
        pytest.param(ALEXNET, id="alexnet", marks=pytest.mark.slow),
    ],
)
def test_a_captured_training_learns_the_same_with_few_kernels_a_step(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended() as record:
        run = start((*words, "trainer.limit_train_batches=9"), record, monkeypatch)
        run.train(NUM_EAGER + NUM_EAGER + 1)
        record.clear()
        run.train(1)
        counts = record.counts()
        assert counts[KERNEL] <= LEFT[words], record.table(KERNEL)
        assert sum("replay" in event for event in record.of(KERNEL)) == 2
        assert not record.of(WAIT, BLOCKING_COPY, MIX, RACE)
        found = [float(loss) for loss in run.losses], run.weights()

    plain = tuple(word for word in words if word != "runtime.capture=true")
    with pretended():
        eager = Training.start((*plain, "trainer.limit_train_batches=9"), "cuda:0")
        eager.train(len(run.losses))
        assert found[0] == [float(loss) for loss in eager.losses]
        weights = eager.weights()
    assert all(torch.equal(found[1][name], value) for name, value in weights.items())


def test_a_fast_evaluation_counts_what_the_plain_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [1, *([0] * NUM_EAGER), 1]  # updates before each evaluation
    with pretended() as record:
        run = start((*LENET5, *EVALUATING), record, monkeypatch)
        batches = run.parts.in_order(run.parts.splits.test)
        assert len(batches) == 1  # four without
        found = []
        for number in numbers:
            run.train(number)
            found.append(run.parts.evaluate(batches, "center"))
        assert "replay" in record.table(KERNEL)
        assert not record.of(MIX, RACE)

    with pretended():
        plain = Training.start((*CASES["lenet5 with dropout"], "schedule=constant"), "cuda:0")
        plain.train(1)
        batches, wanted = plain.parts.in_order(plain.parts.splits.test), []
        wanted.append(plain.parts.evaluate(batches, "center"))
        plain.train(1)
        wanted.append(plain.parts.evaluate(batches, "center"))
    first, second = wanted  # the last, replayed, reads the weights as they are then
    for mine, tally in zip(found, [first] * (len(found) - 1) + [second], strict=True):
        assert mine.top1_errors == tally.top1_errors
        assert mine.cross_entropy == pytest.approx(tally.cross_entropy, rel=1e-6)
