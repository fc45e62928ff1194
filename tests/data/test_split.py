import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.data.split import (
    hold_out,
    nested_order,
    stratified,
    stratified_groups,
    training_subset,
)
from cnnlab.data.store import ArrayStore, StoredStatistics
from cnnlab.errors import UsageError

EARLIER = [2, 8, 12, 18, 23, 27, 33, 41, 48]
LABELS = st.lists(st.integers(0, 5), min_size=2, max_size=80)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, data=st.data())
def test_classes_are_held_out_in_proportion_and_keep_an_image(
    labels: list[int], data: st.DataObject
) -> None:
    num_held = data.draw(st.integers(0, len(labels) - len(set(labels))))
    kept, held = stratified(torch.tensor(labels), num_held, seed=3)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    assert len(held) == num_held
    assert {labels[item] for item in kept} == set(labels)
    found = torch.bincount(torch.tensor(labels)[held], minlength=6)
    counts = torch.bincount(torch.tensor(labels), minlength=6)
    if not bool(((counts - found == 1) & (counts > 0)).any()):  # no class was passed over
        assert ((found - counts * num_held / len(labels)).abs() < 1).all()


def test_rare_classes_keep_their_only_image() -> None:
    labels = torch.tensor([0, 1, 2, 3, 4, 4, 4, 4, 4, 4])
    kept, held = stratified(labels, 5, seed=2012)
    assert labels[kept].tolist() == [0, 1, 2, 3, 4]
    assert labels[held].tolist() == [4] * 5


def test_splits_of_earlier_versions_are_the_same() -> None:
    """Where no class is in danger, a resumed run has the images that it started with."""
    labels = torch.arange(50) % 4
    assert stratified(labels, 9, seed=7)[1].tolist() == EARLIER


def test_the_split_depends_on_its_seed_alone() -> None:
    labels = torch.arange(100) % 7
    torch.manual_seed(1)
    first = stratified(labels, 30, seed=0)[1]
    torch.manual_seed(2)
    assert torch.equal(first, stratified(labels, 30, seed=0)[1])
    assert not torch.equal(first, stratified(labels, 30, seed=1)[1])


def test_a_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    images = torch.zeros(20, 4, 4, 1, dtype=torch.uint8)
    store = ArrayStore("tiny", "train", images, torch.arange(20) % 10, tuple("0123456789"), False)
    with pytest.raises(UsageError, match="15 images cannot be held out"):
        hold_out(store, 15, 0)
    kept, _ = hold_out(store, 10, 0)
    assert torch.bincount(kept.labels).tolist() == [1] * 10


def test_classes_with_a_single_image_are_named_when_too_much_is_asked_for() -> None:
    images = torch.zeros(5, 4, 4, 1, dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 1, 2])
    store = ArrayStore("tiny", "train", images, labels, ("cat", "dog", "emu"), False)
    with pytest.raises(UsageError, match="3 images cannot be held out for test") as caught:
        hold_out(store, 3, 0, ("train", "test"))
    assert "only one in dog, emu" in caught.value.where
    assert "at most 2" in caught.value.hint


def test_every_class_keeps_a_group_of_its_own() -> None:
    labels = torch.tensor([0] * 2 + [1] * 2 + [2] * 16)
    groups = torch.arange(20) // 2  # one group in two classes, eight in the third
    kept, held = stratified_groups(labels, groups, 6, seed=0)
    assert set(labels[kept].tolist()) == {0, 1, 2}
    assert len(held) == 6
    assert not set(groups[kept].tolist()) & set(groups[held].tolist())


@settings(max_examples=60, deadline=None)
@given(labels=LABELS)
def test_every_subset_has_each_class_in_proportion(labels: list[int]) -> None:
    """Within two images of its share; a class whose share is less than one image has one."""
    order = nested_order(torch.tensor(labels), seed=3)
    assert sorted(order.tolist()) == list(range(len(labels)))
    counts = torch.bincount(torch.tensor(labels), minlength=6)
    present = int((counts > 0).sum())
    for size in range(present, len(labels) + 1):
        found = torch.bincount(torch.tensor(labels)[order[:size]], minlength=6)
        assert (found[counts > 0] >= 1).all()
        share = counts * size / len(labels)
        if bool((share[counts > 0] >= 1).all()):  # no class has one as a gift
            assert ((found - share).abs() < 2).all()


def test_balanced_classes_stay_balanced_and_a_seed_decides_which_images() -> None:
    labels = torch.arange(200) % 10
    first, again, other = (nested_order(labels, seed)[:50] for seed in (0, 0, 1))
    assert torch.bincount(labels[first]).tolist() == [5] * 10
    assert torch.equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


def uneven() -> ArrayStore:
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 4, 4, 1)
    labels = torch.tensor([0] * 12 + [1] * 6 + [2] * 2)
    return ArrayStore("tiny", "train", images.contiguous(), labels, ("cat", "dog", "emu"), False)


def test_smaller_subsets_are_part_of_larger_ones() -> None:
    """By their pixels: what a Store shows, not which rows it says it has."""
    shown = []
    for size in range(3, 21):
        subset = training_subset(uneven(), size, seed=4)
        shown.append({int(image[0, 0, 0]) for image in subset.read(torch.arange(len(subset)))})
    assert [len(images) for images in shown] == list(range(3, 21))
    assert all(small < large for small, large in itertools.pairwise(shown))


@pytest.mark.parametrize("size", [1, 2, 21])
def test_a_subset_that_is_too_large_or_lacks_a_class_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"dataset.train_subset={size} does not fit 20") as caught:
        training_subset(uneven(), size, seed=0)
    assert "from 3, one per class, to 20" in caught.value.hint


def test_a_subset_has_no_statistics_of_the_whole_set() -> None:
    store, one = uneven(), torch.ones(1)
    store.statistics = StoredStatistics(one, one, torch.eye(1), torch.ones(4, 4, 1))
    subset = training_subset(store, 5, seed=0)
    assert subset.statistics is None
    assert subset.digest != store.digest
    assert subset.note == "5 of 20 training images"
