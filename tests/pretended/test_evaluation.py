"""Evaluation on a pretended CUDA device: the CPU's figures, with no mixed devices and no race."""

import pytest

from cnnlab.evaluation.metrics import Tally
from tests.pretended.device import pretended
from tests.pretended.record import MIX, RACE
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
