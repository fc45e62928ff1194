"""What one training step and one batch of an evaluation may ask of a CUDA device.

The numbers are today's. A test fails when one grows, and its message lists who asked for what; when
one falls, write the smaller number here. A kernel is an operation as torch dispatches it, so that
another version of torch may count a few differently. A wait or a blocking copy lets the device run
dry: the host must hear from it, or hand over pageable memory, before it can queue the next kernel.
"""

from typing import NamedTuple

import pytest

from cnnlab.evaluation.evaluate import evaluate
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, KERNEL, MIX, RACE, WAIT, Record
from tests.pretended.runs import CASES, PAIRS, SPLIT, Training


class Cost(NamedTuple):
    """What the devices were asked to do, or may be."""

    kernels: int
    waits: int
    blocking_copies: int

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(mine - yours for mine, yours in zip(self, other, strict=True)))


STEP = {
    "lenet5": Cost(62, 0, 0),
    "lenet5 with dropout": Cost(70, 0, 0),
    "lenet5 in two parts": Cost(112, 0, 0),
    "lenet5 of 1998": Cost(154, 0, 0),
    "narrow alexnet": Cost(170, 0, 0),
    "narrow alexnet, update in one pass": Cost(169, 0, 0),
    "two towers": Cost(170, 0, 0),
    "alexnet of 2014": Cost(98, 0, 0),
    "[cuda:0,cuda:1]": Cost(367, 0, 0),
    "[cpu,cuda:0]": Cost(158, 0, 33),
    "[cuda:0,cpu]": Cost(209, 0, 34),
}
"""One training step before it is captured, with torch's kernels for normalization and pooling;
levenberg_marquardt's estimate, once per epoch, is not in it. A tower on the CPU computes in
ordinary memory, so that every copy to or from it blocks."""

ASKED_PER_EPOCH = {"lenet5 of 1998": 1}
"""Answers that a model waits for once per epoch: whether its curvature is finite."""

BATCH = {
    ("lenet5", "center"): Cost(15, 0, 0),
    ("lenet5", "five_crop"): Cost(36, 0, 0),
    ("lenet5 of 1998", "center"): Cost(40, 0, 0),
    ("narrow alexnet", "center"): Cost(55, 0, 0),
    ("narrow alexnet", "ten_view"): Cost(120, 0, 0),
    ("two towers", "center"): Cost(55, 0, 0),
    ("two towers", "ten_view"): Cost(120, 0, 0),
    ("alexnet of 2014", "center"): Cost(28, 0, 0),
    ("alexnet of 2014", "ten_view"): Cost(66, 0, 0),
    ("[cuda:0,cuda:1]", "center"): Cost(116, 0, 0),
    ("[cuda:0,cuda:1]", "ten_view"): Cost(242, 0, 0),
}
"""One batch of two images, (model, views); what ends the evaluation is not in it."""

RUNS = CASES | {devices: (*SPLIT, f"model.devices={devices}") for devices in PAIRS}
RUNS["narrow alexnet, update in one pass"] = (
    *CASES["narrow alexnet"],
    "runtime.fused_update=true",
    "schedule=constant",
)


def check(cost: Cost, budget: Cost, record: Record) -> None:
    kinds = (KERNEL, WAIT, BLOCKING_COPY)
    over = [kind for kind, mine, most in zip(kinds, cost, budget, strict=True) if mine > most]
    assert not over, f"{cost} is over the budget, {budget}\n{record.table(*over)}"


def spent(record: Record) -> Cost:
    counts = record.counts()
    return Cost(counts[KERNEL], counts[WAIT], counts[BLOCKING_COPY])


@pytest.mark.parametrize("model", STEP)
def test_a_training_step_asks_for_no_more_than_its_budget(model: str) -> None:
    epochs_of_two = (*RUNS[model], "trainer.limit_train_batches=2")
    with pretended() as record:
        run = Training.start(epochs_of_two, "cuda:0")
        run.train(1)  # the first step of a run has work of its own
        record.clear()
        run.train(1)
        check(spent(record), STEP[model], record)

        record.clear()
        run.train(1)  # where the next epoch begins
        copies = STEP[model].blocking_copies + ASKED_PER_EPOCH.get(model, 0)
        check(spent(record), Cost(record.counts()[KERNEL], 0, copies), record)
        assert not record.of(MIX, RACE)


@pytest.mark.parametrize(("model", "views"), BATCH)
def test_a_batch_of_an_evaluation_asks_for_no_more_than_its_budget(model: str, views: str) -> None:
    with pretended() as record:
        parts = Training.start(RUNS[model], "cuda:0").parts
        images, labels, *_ = next(iter(parts.in_order(parts.splits.test)))
        member, batch = parts.member(views), (images[:2], labels[:2])

        costs = []
        for num_batches in (1, 1, 2):  # the very first has work of its own
            record.clear()
            evaluate([member], [batch] * num_batches, num_classes=10)
            costs.append(spent(record))
    check(costs[2] - costs[1], BATCH[model, views], record)
