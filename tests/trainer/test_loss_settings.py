"""`loss.*` from the command line's words to the update: what is smoothed, and what is not."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import CrossEntropyLoss

from cnnlab.cli import main
from cnnlab.config import parse_train
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.training.loop import TrainState
from tests.test_config import composed

LINEAR = ("model=linear", "augment=none", "trainer.batch_size=50", "runtime.device=cpu")


def assembled(*words: str) -> Assembly:
    return assemble(parse_train(composed("train", *LINEAR, *words)), torch.device("cpu"))


def first_batch(parts: Assembly) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores, the labels, and the loss that the first update reports."""
    images, labels = next(parts.batches())
    parts.network.train()
    with torch.no_grad():
        scores = parts.network(images)
    loss = parts.step(TrainState(parts.network, parts.optimizer), images, labels).loss
    return scores, labels, loss


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_training_loss_is_smoothed_and_the_validation_loss_is_not(accumulate: int) -> None:
    parts = assembled("loss.label_smoothing=0.1", f"trainer.accumulate={accumulate}")
    scores, labels, loss = first_batch(parts)
    smoothed = CrossEntropyLoss(label_smoothing=0.1)(scores, labels)
    assert float(loss) == pytest.approx(float(smoothed), rel=1e-6)
    assert float(loss) != pytest.approx(float(CrossEntropyLoss()(scores, labels)), rel=1e-3)

    store = parts.splits.validation
    assert store is not None
    batches = parts.in_order(store)
    pixels, held = (torch.cat(parts_of) for parts_of in zip(*(b[:2] for b in batches), strict=True))
    with torch.no_grad():
        scores = parts.network.eval()(parts.preprocessing.normalize(pixels))
    plain = float(CrossEntropyLoss()(scores, held))
    assert parts.evaluate(batches, "center").cross_entropy == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("word", ["loss.label_smoothing=0.1"])
@pytest.mark.parametrize("distance", ["squared_distance", "discriminative_distance"])
def test_settings_of_the_cross_entropy_are_refused_for_distances(
    word: str, distance: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[Any] = ["experiment=lenet5_1998", f"model.loss={distance}", word]
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert f"{word} is for the cross-entropy loss" in said
    assert distance in said
    assert len(said.splitlines()) == 2
