import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnlab.data.split import hold_out, stratified
from cnnlab.data.store import ArrayStore
from cnnlab.errors import UsageError


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=80), data=st.data())
def test_classes_are_held_out_in_proportion(labels: list[int], data: st.DataObject) -> None:
    num_held = data.draw(st.integers(1, len(labels) - 1))
    kept, held = stratified(torch.tensor(labels), num_held, seed=3)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    assert len(held) == num_held
    for name in set(labels):
        found = sum(labels[item] == name for item in held)
        assert abs(found - labels.count(name) * num_held / len(labels)) < 1


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
