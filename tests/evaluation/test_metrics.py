import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score

from cnnlab.errors import DataError, NumericsError
from cnnlab.evaluation.metrics import (
    MOST_CONFUSED_CLASSES,
    NUM_BINS,
    SCORED_AT_ONCE,
    PredictionBuffer,
    Tally,
    concatenate,
    count,
    score,
    wilson_interval,
)
from tests.reference import evaluation as reference


def tally(probabilities: torch.Tensor, labels: torch.Tensor) -> Tally:
    return count(concatenate([score(probabilities, labels)]), probabilities.shape[1])


def random_case(num: int, classes: int, seed: int, *, ties: bool = False):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num, classes, generator=generator)
    if ties:
        scores = scores.round()
    labels = torch.randint(0, classes, (num,), generator=generator)
    return scores.softmax(1), labels


@pytest.mark.parametrize("classes", [2, 3, 6, 10, 40])
@pytest.mark.parametrize("ties", [False, True])
def test_errors_and_confusion_agree_with_scikit_learn(classes, ties):
    probabilities, labels = random_case(500, classes, classes, ties=ties)
    ours = tally(probabilities, labels)
    every = list(range(classes))
    for k, errors in ((1, ours.top1_errors), (5, ours.top5_errors)):
        if classes == 2 or k >= classes:
            continue
        # scikit-learn places the later of two equal classes first, we the earlier: reverse it
        flipped, turned = probabilities.flip(1).numpy(), (classes - 1 - labels).numpy()
        hits = top_k_accuracy_score(turned, flipped, k=k, labels=every, normalize=False)
        assert errors == 500 - hits
    theirs = confusion_matrix(labels, probabilities.argmax(1), labels=every)
    assert ours.confusion.tolist() == theirs.tolist()
    recalls = [t[i] / sum(t) for i, t in enumerate(theirs.tolist())]
    assert ours.class_accuracies == pytest.approx(recalls)


@pytest.mark.parametrize("classes", [2, 10])
def test_cross_entropy_agrees_with_scikit_learn(classes):
    probabilities, labels = random_case(300, classes, 1)
    double = probabilities.double() / probabilities.double().sum(1, keepdim=True)
    theirs = log_loss(labels, double.numpy(), labels=list(range(classes)))
    assert tally(probabilities, labels).cross_entropy == pytest.approx(theirs, rel=1e-6)


def test_reliability_agrees_with_scikit_learn():
    probabilities, labels = random_case(2000, 4, 2)
    probabilities = (probabilities**3) / (probabilities**3).sum(1, keepdim=True)
    ours = tally(probabilities, labels)
    confidences, predicted = probabilities.double().max(1)
    accuracy, mean_confidence = calibration_curve(
        (predicted == labels).int().numpy(), confidences.numpy(), n_bins=NUM_BINS
    )
    filled = ours.bin_counts > 0
    assert (ours.bin_hits / ours.bin_counts)[filled].tolist() == pytest.approx(accuracy.tolist())
    means = (ours.bin_confidence_sums / ours.bin_counts)[filled]
    assert means.tolist() == pytest.approx(mean_confidence.tolist())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 10**6), st.booleans())
def test_counts_equal_the_obvious_ones(num, classes, seed, ties):
    probabilities, labels = random_case(num, classes, seed, ties=ties)
    ours = tally(probabilities, labels)
    rows, truth = probabilities.tolist(), labels.tolist()
    ranks = [reference.rank(row, label) for row, label in zip(rows, truth, strict=True)]
    assert ours.top1_errors == sum(rank >= 1 for rank in ranks)
    assert ours.top5_errors == sum(rank >= 5 for rank in ranks)
    predicted = [row.index(max(row)) for row in rows]
    assert ours.confusion.tolist() == reference.confusion(truth, predicted, classes)
    assert ours.cross_entropy == pytest.approx(
        reference.cross_entropy(probabilities, truth), abs=1e-6
    )
    hits = [rank == 0 for rank in ranks]
    expected = reference.calibration_error([max(row) for row in rows], hits, NUM_BINS)
    assert ours.calibration_error == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 10**6))
def test_the_tally_of_the_whole_is_the_sum_of_its_parts(sizes, seed):
    probabilities, labels = random_case(sum(sizes), 5, seed, ties=True)
    parts = [tally(*p) for p in zip(probabilities.split(sizes), labels.split(sizes), strict=True)]
    total, whole = parts[0], tally(probabilities, labels)
    for part in parts[1:]:
        total = total + part
    assert total.num_images == whole.num_images
    assert (total.top1_errors, total.top5_errors) == (whole.top1_errors, whole.top5_errors)
    assert torch.equal(total.confusion, whole.confusion)
    assert torch.equal(total.bin_counts, whole.bin_counts)
    assert total.cross_entropy == pytest.approx(whole.cross_entropy, rel=1e-12)


def test_equal_probabilities_place_the_lower_class_first():
    probabilities = torch.full((4, 4), 0.25)
    ours = tally(probabilities, torch.tensor([0, 1, 2, 3]))
    assert ours.top1_errors == 3
    assert ours.confusion[:, 0].tolist() == [1, 1, 1, 1]


def test_one_class_and_absent_classes_are_defined():
    assert tally(torch.ones(3, 1), torch.zeros(3, dtype=torch.long)).top1_error == 0.0
    ours = tally(*random_case(50, 3, 0))
    few = tally(torch.eye(3)[[0, 0]], torch.tensor([0, 1]))
    assert few.class_accuracies == [1.0, 0.0, None]
    assert ours.top5_error == 0.0


def test_the_true_class_on_sixth_place_is_a_top5_error():
    probabilities = torch.tensor([[0.3, 0.2, 0.15, 0.13, 0.12, 0.1]]).repeat(2, 1)
    ours = tally(probabilities, torch.tensor([4, 5]))
    assert (ours.top1_errors, ours.top5_errors) == (2, 1)


def test_a_certain_wrong_prediction_has_a_finite_loss():
    ours = tally(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert ours.cross_entropy == pytest.approx(-math.log(torch.finfo(torch.float32).tiny))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_probabilities_that_are_not_finite_never_become_a_metric(bad):
    with pytest.raises(NumericsError, match="not finite"):
        tally(torch.tensor([[bad, 0.5], [0.1, 0.9]]), torch.tensor([0, 1]))


def test_rates_of_no_images_are_refused():
    empty = tally(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    for name in ("top1_error", "top5_error", "cross_entropy", "top1_interval", "calibration_error"):
        with pytest.raises(DataError, match="no images"):
            getattr(empty, name)


def test_wilson_interval_has_the_published_values_and_stays_inside_0_and_1():
    # 15 of 148: 0.0624 to 0.1605 (Newcombe 1998, table I, method 3)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = wilson_interval(20, 20)
    assert high == 1.0
    assert 0.83 < low < 0.84


@pytest.mark.parametrize("batch", [1, 7, 61])
def test_buffered_predictions_are_scored_as_the_whole_is(batch):
    generator = torch.Generator().manual_seed(0)
    num_images = 3 * SCORED_AT_ONCE // 1000 + 61 if batch == 61 else 61
    probabilities = torch.rand(num_images, 1000, generator=generator).softmax(1)
    labels = torch.randint(0, 1000, (num_images,), generator=generator)
    buffer = PredictionBuffer()
    for part in zip(probabilities.split(batch), labels.split(batch), strict=True):
        buffer.update(*part)
    results, expected = buffer.results(), score(probabilities, labels)
    assert results is not None
    for name in ("labels", "predicted", "ranks", "confidences", "label_probabilities"):
        assert torch.equal(getattr(results, name), getattr(expected, name))


def test_a_buffer_without_images_has_no_results():
    buffer = PredictionBuffer()
    buffer.update(torch.empty(0, 10), torch.empty(0, dtype=torch.int64))
    assert buffer.results() is None


def test_of_65536_classes_every_metric_is_counted_without_a_matrix_of_them():
    num_classes = 65_536
    labels = torch.tensor([0, 7, 65_535, 7])
    probabilities = torch.full((4, num_classes), 1e-6)
    probabilities[range(4), [0, 7, 65_535, 9]] = 0.9

    found = tally(probabilities, labels)
    whole = tally(probabilities[:2], labels[:2]) + tally(probabilities[2:], labels[2:])

    assert found.confusion is None
    assert whole.confusion is None
    for one in (found, whole):
        assert (one.num_images, one.top1_errors) == (4, 1)
        assert [one.class_accuracies[k] for k in (0, 1, 7, 65_535)] == [1.0, None, 0.5, 1.0]


@pytest.mark.parametrize("num_classes", [MOST_CONFUSED_CLASSES, MOST_CONFUSED_CLASSES + 1])
def test_the_matrix_ends_at_its_bound(num_classes):
    labels = torch.tensor([0, 2])
    probabilities = torch.zeros(2, num_classes)
    probabilities[:, 2] = 1.0

    found = tally(probabilities, labels)

    assert (found.confusion is None) == (num_classes > MOST_CONFUSED_CLASSES)
    assert found.class_hits[:3].tolist() == [0, 0, 1]
