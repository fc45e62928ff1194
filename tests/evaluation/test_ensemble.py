from itertools import combinations

import numpy as np
import pytest
import torch

from cnnlab.evaluation.ensemble import disagreement, subset_errors
from cnnlab.evaluation.observers import MemberChances, SavedProbabilities, WorstMisses


def answers(images: int = 40, members: int = 3, views: int = 5, classes: int = 6):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(images, members, views, classes, generator=generator)
    return scores.softmax(3), torch.randint(0, classes, (images,), generator=generator)


def test_every_subset_is_the_average_of_its_members():
    chances, labels = answers()
    averaged = chances.mean(2)
    for found in subset_errors(averaged, labels):
        errors = []
        for subset in combinations(range(3), found.size):
            total = sum(averaged[:, m].double() for m in subset)
            errors.append(float((total.argmax(1) != labels).double().mean()))
        assert found.num_subsets == len(errors)
        assert found.mean == pytest.approx(sum(errors) / len(errors))
        assert (found.lowest, found.highest) == pytest.approx((min(errors), max(errors)))


def test_many_members_are_counted_by_their_first_ones():
    chances, labels = answers(members=9)
    found = subset_errors(chances.mean(2), labels)
    assert [subset.num_subsets for subset in found] == [1] * 9


def test_disagreement_is_the_share_of_different_answers():
    chances, _ = answers()
    found = disagreement(chances.mean(2))
    first, second = chances.mean(2)[:, 0].argmax(1), chances.mean(2)[:, 1].argmax(1)
    assert found[0, 1] == pytest.approx(float((first != second).double().mean()))
    assert torch.equal(found, found.T)
    assert found.diagonal().sum() == 0


def test_members_are_kept_over_views_and_for_the_centre_alone():
    chances, labels = answers()
    kept = MemberChances()
    for part, some in zip(chances.split(7), labels.split(7), strict=True):
        kept(some, part)
    assert torch.equal(kept.over_views, chances.mean(2))
    assert kept.center is not None
    assert torch.equal(kept.center, chances[:, :, 4])
    assert torch.equal(kept.labels, labels)


def test_one_view_has_no_centre_apart():
    chances, labels = answers(views=1)
    kept = MemberChances()
    kept(labels, chances)
    assert kept.center is None


@pytest.mark.parametrize("size", [1, 7, 40])
def test_worst_misses_are_the_most_confident_wrong_answers_in_any_batches(size):
    chances, labels = answers()
    weights = torch.tensor([0.5, 0.3, 0.2])
    kept = WorstMisses(4, weights)
    for part, some in zip(chances.split(size), labels.split(size), strict=True):
        kept(some, part)
    averaged = (chances.mean(2) * weights[:, None]).sum(1)
    confidence, predicted = averaged.max(1)
    wrong = [i for i in range(40) if predicted[i] != labels[i]]
    wrong.sort(key=lambda i: -float(confidence[i]))
    assert [miss.index for miss in kept.misses] == wrong[:4]
    assert [miss.label for miss in kept.misses] == labels[wrong[:4]].tolist()
    assert kept.misses[0].confidence == pytest.approx(float(confidence[wrong[0]]))


def test_saved_probabilities_make_every_subset_an_array_sum(tmp_path):
    chances, labels = answers()
    keeper = SavedProbabilities(tmp_path, 40)
    for part, some in zip(chances.split(9), labels.split(9), strict=True):
        keeper(some, part)
    keeper.close()
    saved = np.load(tmp_path / "probabilities.npy")
    assert saved.shape == (40, 3, 5, 6)
    assert np.array_equal(saved, chances.numpy())
    assert np.array_equal(np.load(tmp_path / "labels.npy"), labels.numpy())
    pair = saved[:, [0, 2]].mean((1, 2)).argmax(1)
    ours = chances[:, [0, 2]].mean((1, 2)).argmax(1)
    assert np.array_equal(pair, ours.numpy())
