import numpy as np
import pytest
import torch

from cnnlab.errors import CheckpointError
from cnnlab.preprocessing import Preprocessing
from tests.reference import images as reference


def preprocessing(size: int = 32, padding: int = 2, channels: int = 1) -> Preprocessing:
    mean, std = torch.full((channels,), 33.0), torch.full((channels,), 78.0)
    return Preprocessing(channels, size, padding, mean, std)


def random_images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_digits_get_black_padding_and_keep_their_pixels() -> None:
    digits = random_images(3, 1, 28, 28)
    prepared = preprocessing().prepare(digits)
    assert prepared.shape == (3, 1, 32, 32)
    assert torch.equal(prepared[:, :, 2:30, 2:30], digits)
    assert prepared.sum() == digits.sum()


def test_images_of_the_right_size_are_not_touched() -> None:
    images = random_images(3, 1, 32, 32)
    assert preprocessing().prepare(images) is images


def test_prepare_brings_any_shape_and_channel_count_to_the_networks_size() -> None:
    for channels, height, width in ((1, 50, 90), (3, 33, 500), (3, 64, 64), (1, 10, 10)):
        prepared = preprocessing(48, 0, 3).prepare(random_images(2, channels, height, width))
        assert prepared.shape == (2, 3, 48, 48)
        assert prepared.dtype == torch.uint8


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_normalize_equals_the_formula(dtype: torch.dtype) -> None:
    images = random_images(3, 3, 8, 8).to(dtype)
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 1.0, 55.0])
    found = Preprocessing(3, 8, 0, mean, std).normalize(images)
    expected = reference.normalize(images.numpy(), mean.numpy(), std.numpy())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("mean_shape", [(3,), (3, 12, 12)])
@pytest.mark.parametrize("divides", [True, False])
def test_both_memory_formats_give_the_same_numbers(
    dtype: torch.dtype, mean_shape: tuple[int, ...], divides: bool
) -> None:
    std = torch.tensor([60.0, 50.0, 55.0]) if divides else torch.ones(3)
    whole = Preprocessing(3, 12, 0, torch.rand(mean_shape) * 255, std)
    images = random_images(4, 3, 8, 8).to(dtype)
    last = images.contiguous(memory_format=torch.channels_last)
    expected = whole.normalize(images)
    for given in (images, last):
        out = torch.empty_like(given, dtype=torch.float32)
        for found in (whole.normalize(given), whole.normalize(given, out=out), out):
            assert torch.equal(found, expected)
    assert torch.equal(last, images)


def test_normalize_changes_nothing_in_place() -> None:
    images = random_images(3, 1, 8, 8).float()
    before = images.clone()
    preprocessing(8, 0).normalize(images)
    assert torch.equal(images, before)


def test_a_per_pixel_mean_is_center_cropped() -> None:
    mean = torch.rand(3, 10, 10) * 255
    whole = Preprocessing(3, 10, 0, mean, torch.ones(3))
    images = random_images(2, 3, 6, 6)
    expected = images.float() - mean[:, 2:8, 2:8]
    torch.testing.assert_close(whole.normalize(images), expected)


def test_state_survives_the_way_through_a_checkpoint() -> None:
    before = preprocessing(40, 3, 3)
    tensors, document = before.state()
    after = Preprocessing.from_state({**tensors, "model.c1.weight": torch.zeros(1)}, document)
    images = random_images(2, 1, 30, 30)
    assert torch.equal(after.prepare(images), before.prepare(images))
    torch.testing.assert_close(
        after.normalize(after.prepare(images)), before.normalize(before.prepare(images))
    )


BROKEN = {
    "no mean": lambda tensors, document: tensors.pop("input.mean"),
    "no size": lambda tensors, document: document.pop("image_size_pixels"),
    "a size in words": lambda tensors, document: document.update(image_size_pixels="32"),
    "a size of true": lambda tensors, document: document.update(channels=True),
    "no room for content": lambda tensors, document: document.update(pad_pixels=16),
    "a mean of two channels": lambda tensors, document: tensors.update(
        {"input.mean": torch.zeros(2)}
    ),
    "a scalar mean": lambda tensors, document: tensors.update({"input.mean": torch.tensor(1.0)}),
    "an infinite mean": lambda tensors, document: tensors.update(
        {"input.mean": torch.tensor([torch.inf])}
    ),
    "a zero deviation": lambda tensors, document: tensors.update({"input.std": torch.zeros(1)}),
    "a deviation per pixel": lambda tensors, document: tensors.update(
        {"input.std": torch.ones(1, 32, 32)}
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_state_that_does_not_fit_is_refused(kind: str) -> None:
    tensors, document = preprocessing().state()
    BROKEN[kind](tensors, document)
    with pytest.raises(CheckpointError):
        Preprocessing.from_state(tensors, document)
