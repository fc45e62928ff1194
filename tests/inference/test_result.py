"""What an evaluation says beside its figures."""

import pytest
import torch

from cnnlab.data.store import ArrayStore
from cnnlab.evaluation.metrics import count, score
from cnnlab.inference.result import EvaluationResult
from tests.app.test_evaluate import config_for, views


def result(name: str, split: str, view: str, num_classes: int = 1000) -> EvaluationResult:
    """Return an evaluation of two images of the set called `name`, both right."""
    images, labels = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.tensor([0, 1])
    names = tuple(f"n{number:08}" for number in range(num_classes))
    store = ArrayStore(name, split, images, labels, names, True)
    tally = count(score(torch.eye(num_classes)[:2], labels), num_classes)
    config = config_for("some.safetensors", split=split, evaluation=views(view))
    return EvaluationResult(config, store, [], [], tally, [], None, [])


@pytest.mark.parametrize(
    ("name", "figures"),
    [("imagenet", ("40.7 / 18.2", "38.1 / 16.4")), ("imagenet_2010", ("37.5 / 17.0",))],
)
def test_ten_views_of_imagenet_say_which_published_figure_is_theirs(
    name: str, figures: tuple[str, ...]
) -> None:
    """Source: Krizhevsky et al. 2012, table 1 (2010) and table 2 (2012 validation images)."""
    note = result(name, "test", "ten_view").note
    assert all(figure in note for figure in figures)


@pytest.mark.parametrize(
    ("name", "split", "view", "num_classes"),
    [
        ("imagenet", "test", "center", 1000),
        ("imagenet", "validation", "ten_view", 1000),
        ("imagenet", "test", "ten_view", 100),
        ("cifar10", "test", "ten_view", 10),
    ],
)
def test_other_figures_are_compared_with_nothing(
    name: str, split: str, view: str, num_classes: int
) -> None:
    assert result(name, split, view, num_classes).note == ""
