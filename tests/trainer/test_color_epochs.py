"""`augment.color_epochs`: color shifts end after an epoch; nothing else of the pictures moves."""

import itertools

import pytest
import torch
from torch import Tensor

from cnnlab import config
from cnnlab.errors import UsageError
from cnnlab.trainer import assemble as module
from tests.test_config import composed

CPU = torch.device("cpu")
STEPS_PER_EPOCH, ENDS_AFTER = 2, 2
WORDS = (
    "model=linear", "dataset=synthetic", "dataset.num_train=24", "dataset.num_validation=8",
    "dataset.num_test=4", "dataset.num_classes=4", "dataset.image_size_pixels=16",
    "dataset.normalize=pixel",
    "augment=alexnet", "augment.crop_pixels=12", "augment.images_per_draw=2",
    "augment.color_divides=true", "trainer.batch_size=8", "trainer.epochs=4",
)  # fmt: skip


def pictures(*words: str, start_step: int = 0) -> list[Tensor]:
    """Return the images of every step from `start_step` to the end of four epochs."""
    settings = config.parse_train(composed("train", *WORDS, *words))
    parts = module.assemble(settings, CPU)
    assert parts.stream.steps_per_epoch == STEPS_PER_EPOCH
    batches = parts.batches(start_step)
    return [images for images, _ in itertools.islice(batches, parts.total_steps - start_step)]


def test_colors_are_shifted_before_and_left_alone_after() -> None:
    found = pictures(f"++augment.color_epochs={ENDS_AFTER}")
    shifted = pictures()
    alone = pictures("augment.color_scale=none", "augment.color_divides=false")

    change = STEPS_PER_EPOCH * ENDS_AFTER
    expected = shifted[:change] + alone[change:]
    assert not any(torch.equal(a, b) for a, b in zip(shifted, alone, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_resumed_run_sees_the_pictures_of_the_whole_one(step: int) -> None:
    word = f"++augment.color_epochs={ENDS_AFTER}"

    whole, rest = pictures(word)[step:], pictures(word, start_step=step)

    assert all(torch.equal(a, b) for a, b in zip(whole, rest, strict=True))


def test_it_is_refused_where_colors_are_not_shifted() -> None:
    words = ("++augment.color_epochs=2", "augment.color_scale=none", "augment.color_divides=false")
    with pytest.raises(UsageError, match="color_epochs=2 has no effect"):
        config.parse_train(composed("train", *WORDS, *words))
