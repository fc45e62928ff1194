"""Evaluation on a pretended CUDA device: the CPU's figures, with no mixed devices and no race."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cnnlab.evaluation import ensemble, metrics
from cnnlab.evaluation.ensemble import MemberObserver
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import WorstMisses
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, MIX, RACE, WAIT
from tests.pretended.runs import CASES, SPLIT, Training

NETWORKS = {
    "narrow alexnet": CASES["narrow alexnet"],
    "alexnet of 2014": CASES["alexnet of 2014"],
    "towers": (*SPLIT, "model.devices=[cuda:0,cuda:1]"),
}


def evaluated(words: tuple[str, ...], device: str, views: str) -> Tally:
    """Return the count of the project's own evaluation of the test images."""
    parts = Training.start(words, device).parts
    return parts.evaluate(parts.in_order(parts.splits.test), views)


@pytest.mark.parametrize("views", ["center", "ten_view"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_finds_what_the_cpu_finds(network: str, views: str) -> None:
    words = NETWORKS[network]
    with pretended() as record:
        there = evaluated(words, "cuda:0", views)
        assert not record.of(MIX, RACE)
    on_cpu = tuple(word.replace("cuda:0,cuda:1", "cpu,cpu") for word in words)
    here = evaluated(on_cpu, "cpu", views)
    assert there.top1_error == here.top1_error
    assert there.cross_entropy == pytest.approx(here.cross_entropy, rel=1e-6)


def ensemble_of_two(
    device: str, between: Callable[[], object]
) -> tuple[Tally, WorstMisses, MemberObserver]:
    """Evaluate two members of unequal weight, with all that a report shows.

    between: called between batches.
    """
    parts = Training.start(CASES["lenet5"], device).parts
    last = torch.arange(9, -1, -1, device=parts.device)  # the second member numbers classes so
    first = parts.member("five_crop")
    members = [replace(first, weight=0.75), replace(first, weight=0.25, class_order=last)]
    misses, counting = WorstMisses(5, torch.tensor([0.75, 0.25])), MemberObserver()
    batches = list(parts.in_order(parts.splits.test))[:2] * 2
    tally = evaluate(
        members, batches, num_classes=10, observers=[misses, counting], should_stop=between
    )
    return tally, misses, counting


def test_an_ensemble_and_what_its_report_shows_wait_for_the_last_batch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ensemble, "COUNTED_AT_ONCE", 1)  # in every batch, as for a thousand classes
    monkeypatch.setattr(metrics, "SCORED_AT_ONCE", 1)
    waits: list[int] = []
    with pretended() as record:

        def note() -> None:
            waits.append(len(record.of(WAIT, BLOCKING_COPY)))

        there, misses, counting = ensemble_of_two("cuda:0", note)
        assert waits[1] == waits[2] == waits[3], record.table(WAIT, BLOCKING_COPY)
        assert not record.of(MIX, RACE)
        misses_there, counts_there = misses.misses, counting.counts

    here, misses, counting = ensemble_of_two("cpu", lambda: None)
    assert there.top1_errors == here.top1_errors
    assert [miss.index for miss in misses_there] == [miss.index for miss in misses.misses]
    assert counts_there is not None
    assert counting.counts is not None
    assert counts_there.errors.tolist() == counting.counts.errors.tolist()
