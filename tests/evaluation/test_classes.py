import pytest

from cnnlab.errors import DataError
from cnnlab.evaluation.classes import match_classes


def test_equal_lists_need_no_reordering():
    assert match_classes(["a", "b"], ("a", "b"), "net", "data") is None


def test_classes_are_matched_by_name():
    order = match_classes(["cat", "dog", "eel"], ["eel", "cat", "dog"], "net", "data")
    assert order is not None
    assert order.tolist() == [2, 0, 1]


def test_other_classes_are_refused_with_both_differences():
    with pytest.raises(DataError) as error:
        match_classes(["cat", "dog"], ["cat", "eel", "yak"], "the checkpoint", "the data")
    what, where, hint = str(error.value).split("\n")
    assert "(2)" in what
    assert "(3)" in what
    assert "only the checkpoint: 'dog'" in where
    assert "only the data: 'eel', 'yak'" in hint


def test_repeated_names_cannot_be_matched():
    with pytest.raises(DataError):
        match_classes(["a", "a"], ["a"], "net", "data")
