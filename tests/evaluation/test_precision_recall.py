"""Precision and recall per class: against their definition, and however the batches are cut."""

import pytest
import torch
from torch import Tensor

from cnnlab.evaluation.precision_recall import (
    MOST_CLASSES,
    NUM_THRESHOLDS,
    PrecisionRecall,
    curves,
)


def answers(num_images: int = 200, num_classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    scores = torch.randn(num_images, num_classes, generator=generator)
    scores[torch.arange(num_images), labels] += 1.5
    return labels, scores.softmax(1)


def counted(labels: Tensor, probabilities: Tensor, batch: int) -> Tensor:
    observer = PrecisionRecall(probabilities.shape[1])
    for part, of_part in zip(labels.split(batch), probabilities.split(batch), strict=True):
        observer(part, of_part[:, None, None])
    assert observer.counts is not None
    return observer.counts


def test_a_curve_is_precision_and_recall_at_each_threshold():
    labels, probabilities = answers()
    everything, *each = curves(counted(labels, probabilities, 64), most=10)
    assert everything.label is None
    assert [curve.label for curve in each] == [0, 1, 2, 3]

    for curve in each:
        is_class = labels == curve.label
        for step in (0, 1, 40, 63, 100, 126):
            said = (probabilities[:, curve.label] * 126).floor() >= step
            right = int((said & is_class).sum())
            assert curve.rows[0][step] == right
            assert curve.rows[4][step] == pytest.approx(right / max(1, int(said.sum())))
            assert curve.rows[5][step] == pytest.approx(right / int(is_class.sum()))
    sums = [sum(curve.rows[0][60] for curve in each), sum(curve.rows[1][60] for curve in each)]
    assert [everything.rows[0][60], everything.rows[1][60]] == sums


def test_batches_views_and_processes_change_no_count():
    labels, probabilities = answers()
    whole = counted(labels, probabilities, 200)
    assert torch.equal(counted(labels, probabilities, 7), whole)
    parts = counted(labels[:90], probabilities[:90], 32) + counted(
        labels[90:], probabilities[90:], 32
    )
    assert torch.equal(parts, whole)

    observer = PrecisionRecall(4)
    observer(labels, probabilities[:, None, None].expand(-1, 2, 3, -1).contiguous())
    assert observer.counts is not None
    assert (observer.counts.sum(2) == whole.sum(2)).all()


def test_the_worst_classes_are_chosen_and_those_without_images_left_out():
    labels, probabilities = answers(num_classes=6)
    labels = labels.where(labels != 2, torch.tensor(3))
    chosen = curves(counted(labels, probabilities, 64), most=3)[1:]
    rest = [
        curve
        for curve in curves(counted(labels, probabilities, 64), most=9)[1:]
        if curve.label not in {one.label for one in chosen}
    ]
    assert len(chosen) == 3
    assert 2 not in {curve.label for curve in chosen + rest}
    assert max(c.average_precision for c in chosen) <= min(c.average_precision for c in rest)


def test_a_faultless_class_has_an_average_precision_of_one():
    labels = torch.arange(40) % 4
    certain = torch.eye(4)[labels]
    assert [c.average_precision for c in curves(counted(labels, certain, 8), 4)[1:]] == [1.0] * 4
    assert all(len(row) == NUM_THRESHOLDS for row in curves(counted(labels, certain, 8), 4)[0].rows)


def test_very_many_classes_are_not_counted():
    observer = PrecisionRecall(MOST_CLASSES + 1)
    observer(torch.tensor([0]), torch.full((1, 1, 1, MOST_CLASSES + 1), 0.001))
    assert observer.counts is None
