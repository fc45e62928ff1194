"""A captured training on a pretended CUDA device (graphs.py): it learns the same, in few kernels.

A graph's replay counts as one kernel here: the host asks for it at once.
"""

from collections.abc import Callable, Sequence
from threading import Thread

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.errors import ResourceError
from cnnlab.training.captured import NUM_EAGER, cuda_graphs
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, KERNEL, MIX, RACE, WAIT
from tests.pretended.runs import CASES, Training

LENET5 = (*CASES["lenet5 with dropout"], "schedule=constant", "runtime.capture=true")
ALEXNET = (
    *CASES["narrow alexnet"],
    *("schedule=constant", "runtime.capture=true", "runtime.fused_update=true"),
)
EVALUATING = ("runtime.fast_evaluation=true",)
LEFT = {LENET5: 19, ALEXNET: 24}
"""Kernels of a captured step, two of them replays: the batch, its augmentation, reports."""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(LENET5, id="lenet5"),
        pytest.param(ALEXNET, id="alexnet", marks=pytest.mark.slow),
    ],
)
def test_a_captured_training_learns_the_same_with_few_kernels_a_step(
    words: tuple[str, ...],
) -> None:
    with pretended() as record:
        run = Training.start((*words, "trainer.limit_train_batches=9"), "cuda:0")
        run.train(NUM_EAGER + NUM_EAGER + 1)
        record.clear()
        run.train(1)
        counts = record.counts()
        assert counts[KERNEL] <= LEFT[words], record.table(KERNEL)
        assert sum("replay" in event for event in record.of(KERNEL)) == 2
        assert not record.of(WAIT, BLOCKING_COPY, MIX, RACE)
        found = [float(loss) for loss in run.losses], run.weights()

    plain = (*(word for word in words if word != "runtime.capture=true"), "runtime.capture=false")
    with pretended():
        eager = Training.start((*plain, "trainer.limit_train_batches=9"), "cuda:0")
        eager.train(len(run.losses))
        assert found[0] == [float(loss) for loss in eager.losses]
        weights = eager.weights()
    assert all(torch.equal(found[1][name], value) for name, value in weights.items())


def test_a_fast_evaluation_counts_what_the_plain_one_does() -> None:
    numbers = [1, *([0] * NUM_EAGER), 1]  # updates before each evaluation
    with pretended() as record:
        run = Training.start((*LENET5, *EVALUATING), "cuda:0")
        batches = run.parts.in_order(run.parts.splits.test)
        assert len(batches) == 1  # four without
        found = []
        for number in numbers:
            run.train(number)
            found.append(run.parts.evaluate(batches, "center"))
        assert "replay" in record.table(KERNEL)
        assert not record.of(MIX, RACE)

    with pretended():
        eager = (*CASES["lenet5 with dropout"], "schedule=constant", "runtime.capture=false")
        plain = Training.start(eager, "cuda:0")
        plain.train(1)
        batches, wanted = plain.parts.in_order(plain.parts.splits.test), []
        wanted.append(plain.parts.evaluate(batches, "center"))
        plain.train(1)
        wanted.append(plain.parts.evaluate(batches, "center"))
    first, second = wanted  # the last, replayed, reads the weights as they are then
    for mine, tally in zip(found, [first] * (len(found) - 1) + [second], strict=True):
        assert mine.top1_errors == tally.top1_errors
        assert mine.cross_entropy == pytest.approx(tally.cross_entropy, rel=1e-6)


GPU = torch.device("cuda", 0)


def test_images_may_be_read_by_another_thread_while_a_step_is_captured() -> None:
    pinned: list[Tensor] = []

    def compute() -> Sequence[Tensor]:
        reader = Thread(target=lambda: pinned.append(torch.ones(2).pin_memory()))
        reader.start()
        reader.join()
        return [ones * 2]

    with pretended():
        ones = torch.ones(2, device=GPU)
        (doubled,), replay = cuda_graphs(GPU)(compute)
        assert len(pinned) == 1
        replay()
        assert doubled.tolist() == [2, 2]


def test_a_graph_does_not_read_weights_that_autocast_had_cast_before() -> None:
    """Of a context around both; on the CPU, as the pretence has no autocast."""
    weight, images = torch.ones(3, 2, requires_grad=True), torch.ones(1, 2)
    with pretended(), torch.autocast("cpu", torch.bfloat16):
        assert F.linear(images, weight).sum() == 6
        with torch.no_grad():
            weight.zero_()
        (scores,), _ = cuda_graphs(GPU)(lambda: [F.linear(images, weight)])
        assert scores.sum() == 0


def test_what_an_evaluation_captures_are_ordinary_tensors_without_gradients() -> None:
    modes: list[tuple[bool, bool]] = []

    def compute() -> Sequence[Tensor]:
        modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return [ones * 2]

    with pretended():
        ones = torch.ones(2, device=GPU)
        with torch.inference_mode():
            cuda_graphs(GPU)(compute)
            assert torch.is_inference_mode_enabled()
        cuda_graphs(GPU)(compute)
    assert modes == [(False, False), (False, True)]


@pytest.mark.parametrize(
    "forbidden", [torch.Tensor.tolist, lambda ones: torch.ones(2).to(GPU), torch.nonzero]
)
def test_what_a_graph_cannot_hold_is_refused_in_words(
    forbidden: Callable[[Tensor], object],
) -> None:
    with pretended() as record:
        ones = torch.ones(2, device=GPU)
        with pytest.raises(ResourceError, match="cannot be captured as a CUDA graph") as raised:
            cuda_graphs(GPU)(lambda: [forbidden(ones)])  # type: ignore[list-item]
        assert raised.value.where.startswith("operation not permitted when stream is capturing")
        assert record.graph() is None
