"""`loss.*` from the command line's words to the update: what is smoothed, and what is not."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import CrossEntropyLoss

from cnnlab.cli import main
from cnnlab.config import parse_train
from cnnlab.config.loss import LossConfig
from cnnlab.config.schema import parse
from cnnlab.errors import UsageError
from cnnlab.trainer.assemble import Assembly, assemble
from cnnlab.training.class_weights import class_weights
from cnnlab.training.loop import TrainState
from cnnlab.training.steps import TrainStep
from tests.test_config import composed

LINEAR = ("model=linear", "augment=none", "trainer.batch_size=50", "runtime.device=cpu")
SET = ("dataset=synthetic", "dataset.num_train=135", "dataset.num_validation=60",
       "dataset.num_test=10", "dataset.image_size_pixels=8")  # fmt: skip
"""75 training images: a batch of 50 and one of 25."""


def assembled(*words: str) -> Assembly:
    return assemble(parse_train(composed("train", *LINEAR, *SET, *words)), torch.device("cpu"))


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


@pytest.mark.parametrize(
    ("word", "distance"),
    [
        ("loss.label_smoothing=0.1", "squared_distance"),
        ("loss.class_weights=balanced", "discriminative_distance"),
    ],
)
def test_settings_of_the_cross_entropy_are_refused_for_distances(
    word: str, distance: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words: list[Any] = ["experiment=lenet5_1998", f"model.loss={distance}", word]
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert f"{word} is for the cross-entropy loss" in said
    assert distance in said
    assert len(said.splitlines()) == 2


def test_at_the_defaults_the_step_is_the_plain_one() -> None:
    parts = assembled()
    assert type(parts.step) is TrainStep
    assert (parts.average, parts.update.class_weights) == (None, None)


PLAIN = {"name": "default", "label_smoothing": 0.0}
TEN = "[1,2,3,4,5,6,7,8,9,10]"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_weighted_loss_is_torchs_mean_over_the_whole_batch(
    accumulate: int, smoothing: float
) -> None:
    """Also in parts, each of which has another sum of weights; loss and every gradient."""
    parts = assembled(
        f"loss.class_weights={TEN}",
        f"loss.label_smoothing={smoothing}",
        f"trainer.accumulate={accumulate}",
        "trainer.clip_gradient_norm=null",
    )
    images, labels = next(parts.batches())
    weight = torch.arange(1.0, 11.0)
    torchs = CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    wanted = torchs(parts.network(images), labels)
    gradients = torch.autograd.grad(wanted, list(parts.network.parameters()))

    report = parts.step(TrainState(parts.network, parts.optimizer), images, labels)

    assert float(report.loss) == pytest.approx(float(wanted.detach()), rel=1e-6)
    for parameter, gradient in zip(parts.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=2e-5, atol=1e-7)


def test_every_batch_is_divided_by_its_own_sum_of_weights() -> None:
    """The short last batch of an epoch, and the first of the next, whose order is another."""
    parts = assembled(f"loss.class_weights={TEN}")
    state, batches = TrainState(parts.network, parts.optimizer), parts.batches()
    torchs = CrossEntropyLoss(weight=torch.arange(1.0, 11.0))
    for size in (50, 25, 50):
        images, labels = next(batches)
        assert len(labels) == size
        wanted = float(torchs(parts.network(images), labels).detach())
        assert float(parts.step(state, images, labels).loss) == pytest.approx(wanted, rel=1e-5)
        state.step += 1


def test_balanced_weights_give_each_class_the_same_sum() -> None:
    labels = torch.tensor([0] * 12 + [1] * 6 + [2] * 2)
    weights = class_weights("balanced", labels, ("cat", "dog", "emu"))
    assert (weights * labels.bincount()).tolist() == pytest.approx([20 / 3] * 3)
    assert float(weights[labels].mean()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ([], "0 numbers for 3 classes"),
        ([1.0, 2.0], "2 numbers for 3 classes"),
        ([1.0, 2.0, 3.0, 4.0], "4 numbers for 3 classes"),
        ("balanced", "class 'emu' has no training image"),
    ],
)
def test_weights_that_do_not_fit_the_classes_are_refused(setting: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        class_weights(setting, torch.tensor([0, 1, 0]), ("cat", "dog", "emu"))


@pytest.mark.parametrize("value", ["balance", 3.0, [1, 0], [1, "x"], ["balanced", 1]])
def test_other_values_than_balanced_and_positive_numbers_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"loss.class_weights"):
        parse(
            LossConfig, {"name": "default", "label_smoothing": 0.0, "class_weights": value}, "loss"
        )


def test_the_word_balanced_arrives_as_a_word() -> None:
    for value in ("balanced", ["balanced"]):
        loss = parse(
            LossConfig, {"name": "default", "label_smoothing": 0.0, "class_weights": value}, "loss"
        )
        assert loss.class_weights == "balanced"


def test_the_header_and_the_record_say_how_the_loss_is_weighted(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=debug", *LINEAR, "trainer.batch_size=16", "loss.class_weights=balanced"]
    lean = ["logging.report=false", "logging.tensorboard=false", "logging.images_every_epochs=null"]
    run = tmp_path / "run"
    assert main(["train", *words, *lean, f"hydra.run.dir={run}"]) == 0
    assert "class weights from 1 (0) to 1 (0); in training alone" in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text())["class_weights"] == [1.0] * 10
    assert "class_weights: balanced" in (run / "config.yaml").read_text()
