"""Equations 8 and 9 of LeCun et al. 1998, and the paper's table of rates."""

import pytest
import torch

from cnnlab.config.schedules import TableScheduleConfig
from cnnlab.errors import UsageError
from cnnlab.training import losses, schedules


def distances_and_labels():
    generator = torch.Generator().manual_seed(0)
    return 20 * torch.rand(5, 10, generator=generator), torch.tensor([3, 0, 9, 1, 3])


def test_equation_8_is_the_distance_to_the_labels_bitmap():
    distances, labels = distances_and_labels()
    wanted = sum(distances[p, labels[p]] for p in range(5))
    assert losses.build("squared_distance")(-distances, labels).item() == pytest.approx(wanted)


def test_equation_9_pushes_the_other_classes_away():
    distances, labels = distances_and_labels()
    rubbish = torch.exp(torch.tensor(-losses.RUBBISH_DISTANCE))
    wanted = sum(
        distances[p, labels[p]] + torch.log(rubbish + torch.exp(-distances[p]).sum())
        for p in range(5)
    )
    scores = (-distances).requires_grad_()
    loss = losses.build("discriminative_distance")(scores, labels)
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    picked = torch.zeros(5, 10).scatter_(1, labels[:, None], 1).bool()
    assert (scores.grad[picked] < 0).all()  # nearer to its own bitmap
    assert (scores.grad[~picked] > 0).all()  # farther from the others


def test_equation_9_without_rubbish_is_the_cross_entropy_of_negated_distances(monkeypatch):
    distances, labels = distances_and_labels()
    monkeypatch.setattr(losses, "RUBBISH_DISTANCE", 1e4)
    found = losses.build("discriminative_distance")(-distances, labels)
    assert found.item() == pytest.approx(losses.cross_entropy(-distances, labels).item())


def test_table_gives_the_rates_of_the_paper_pass_by_pass():
    config = TableScheduleConfig(
        name="table", at_epochs=[2, 5, 8, 12], fractions=[1.0, 0.4, 0.2, 0.1, 0.02]
    )
    schedule = schedules.build(config, steps_per_epoch=10, total_steps=200)
    rates = [5e-4 * schedule.rate_at(10 * epoch) for epoch in range(20)]
    assert rates == pytest.approx([5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8)
    assert schedule.rate_at(19) == 1.0
    assert schedule.rate_at(20) == 0.4


def test_a_table_whose_rows_do_not_pair_up_is_refused():
    with pytest.raises(UsageError, match="has 2 entries, expected 3"):
        TableScheduleConfig(name="table", at_epochs=[1, 2], fractions=[1.0, 0.1])
    with pytest.raises(UsageError, match="must be ascending"):
        TableScheduleConfig(name="table", at_epochs=[2, 1], fractions=[1.0, 0.1, 0.01])
