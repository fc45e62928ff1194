from itertools import combinations

import numpy as np
import pytest
import torch

from cnnlab.evaluation import ensemble
from cnnlab.evaluation.ensemble import MemberCounts, MemberObserver, count_members
from cnnlab.evaluation.metrics import count, score
from cnnlab.evaluation.observers import SavedProbabilities, WorstMisses


def answers(images: int = 40, members: int = 3, views: int = 5, classes: int = 6):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(images, members, views, classes, generator=generator)
    return scores.softmax(3), torch.randint(0, classes, (images,), generator=generator)


def test_every_subset_is_the_average_of_its_members():
    probabilities, labels = answers()
    averaged = probabilities.mean(2)
    for found in count_members(labels, averaged).by_size():
        errors = []
        for subset in combinations(range(3), found.size):
            total = sum(averaged[:, m].double() for m in subset)
            errors.append(float((total.argmax(1) != labels).double().mean()))
        assert found.num_subsets == len(errors)
        assert found.mean == pytest.approx(sum(errors) / len(errors))
        assert (found.lowest, found.highest) == pytest.approx((min(errors), max(errors)))


def test_many_members_are_counted_by_their_first_ones():
    probabilities, labels = answers(members=9)
    found = count_members(labels, probabilities.mean(2)).by_size()
    assert [subset.num_subsets for subset in found] == [1] * 9


def test_disagreement_is_the_fraction_of_different_predictions():
    probabilities, labels = answers()
    found = torch.tensor(count_members(labels, probabilities.mean(2)).disagreement())
    first, second = probabilities.mean(2)[:, 0].argmax(1), probabilities.mean(2)[:, 1].argmax(1)
    assert found[0, 1] == pytest.approx(float((first != second).double().mean()))
    assert torch.equal(found, found.T)
    assert found.diagonal().sum() == 0


def observed(probabilities, labels, size: int) -> MemberCounts:
    observer = MemberObserver()
    for part, some in zip(probabilities.split(size), labels.split(size), strict=True):
        observer(some, part)
    assert observer.counts is not None
    return observer.counts


@pytest.mark.parametrize("at_once", [1, 150, 1 << 20])
def test_members_are_counted_alike_in_any_batches(at_once, monkeypatch):
    monkeypatch.setattr(ensemble, "COUNTED_AT_ONCE", at_once)
    probabilities, labels = answers()
    found = observed(probabilities, labels, 7)
    halves = observed(probabilities[:13], labels[:13], 5) + observed(
        probabilities[13:], labels[13:], 5
    )

    for counts in (found, halves):
        assert counts.by_size() == count_members(labels, probabilities.mean(2)).by_size()
        assert counts.center_by_size() == count_members(labels, probabilities[:, :, 4]).by_size()
        for m, tally in enumerate(counts.tallies(6)):
            alone = count(score(probabilities.mean(2)[:, m], labels), 6)
            assert tally.cross_entropy == alone.cross_entropy
            assert torch.equal(tally.confusion, alone.confusion)


def test_one_view_has_no_center_apart():
    probabilities, labels = answers(views=1)
    assert observed(probabilities, labels, 7).center_by_size() == []


def test_no_probability_is_kept(monkeypatch):
    monkeypatch.setattr(ensemble, "COUNTED_AT_ONCE", 1)
    probabilities, labels = answers(images=8, classes=50_000, views=1, members=2)
    observer = MemberObserver()
    observer(labels, probabilities)

    assert observer._buffer == []
    kept = [value for results in observer.counts.results for value in vars(results).values()]
    assert {tuple(tensor.shape) for tensor in kept} == {(8,)}


@pytest.mark.parametrize("size", [1, 7, 40])
def test_worst_misses_are_the_most_confident_errors_in_any_batches(size):
    probabilities, labels = answers()
    weights = torch.tensor([0.5, 0.3, 0.2])
    kept = WorstMisses(4, weights)
    for part, some in zip(probabilities.split(size), labels.split(size), strict=True):
        kept(some, part)
    averaged = (probabilities.mean(2) * weights[:, None]).sum(1)
    confidence, predicted = averaged.max(1)
    wrong = [i for i in range(40) if predicted[i] != labels[i]]
    wrong.sort(key=lambda i: -float(confidence[i]))
    assert [miss.index for miss in kept.misses] == wrong[:4]
    assert [miss.label for miss in kept.misses] == labels[wrong[:4]].tolist()
    assert kept.misses[0].confidence == pytest.approx(float(confidence[wrong[0]]))


def test_saved_probabilities_make_every_subset_an_array_sum(tmp_path):
    probabilities, labels = answers()
    keeper = SavedProbabilities(tmp_path, 40)
    for part, some in zip(probabilities.split(9), labels.split(9), strict=True):
        keeper(some, part)
    keeper.close()
    saved = np.load(tmp_path / "probabilities.npy")
    assert saved.shape == (40, 3, 5, 6)
    assert np.array_equal(saved, probabilities.numpy())
    assert np.array_equal(np.load(tmp_path / "labels.npy"), labels.numpy())
    pair = saved[:, [0, 2]].mean((1, 2)).argmax(1)
    ours = probabilities[:, [0, 2]].mean((1, 2)).argmax(1)
    assert np.array_equal(pair, ours.numpy())
