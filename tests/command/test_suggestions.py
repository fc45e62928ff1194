"""A suggestion is what a person would have meant, or nothing."""

import pytest

from cnnlab.command.suggestions import closest, did_you_mean

KEYS = [
    "seed",
    "model.dropout",
    "trainer.epochs",
    "trainer.batch_size",
    "optimizer.learning_rate",
    "optimizer.weight_decay",
    "saving.every_epochs",
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("trainer.epoch", "trainer.epochs"),
        ("training.epochs", "trainer.epochs"),
        ("epochs", "trainer.epochs"),
        ("lr", "optimizer.learning_rate"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("bs", "trainer.batch_size"),
        ("batchsize", "trainer.batch_size"),
        ("sead", "seed"),
    ],
)
def test_the_likeliest_key_comes_first(word: str, meant: str) -> None:
    assert closest(word, KEYS)[0] == meant


@pytest.mark.parametrize("word", ["trainer.foo", "zzz"])
def test_nothing_is_suggested_for_what_resembles_nothing(word: str) -> None:
    assert did_you_mean(word, KEYS) == ""
