import numpy as np
import pytest
import torch
from torch import Tensor

from cnnlab.data.augment import build_augment, draw_corners, draw_flags
from cnnlab.errors import UsageError
from cnnlab.runtime import make_generator
from tests.data.augmented import augmented
from tests.data.settings import augment_config
from tests.reference import images as reference


def random_images(num: int = 8, channels: int = 3, side: int = 12) -> Tensor:
    return torch.randint(0, 256, (num, channels, side, side), dtype=torch.uint8)


def generator(step: int = 0) -> torch.Generator:
    return make_generator(0, "augment", step)


def test_none_changes_nothing() -> None:
    augment = build_augment(augment_config("none"), mirror_allowed=False)
    images = random_images()
    assert augmented(augment, images, generator()) is images
    assert augment.output_size(28) == 28


def test_crop_with_padding_equals_pad_then_slice() -> None:
    augment = build_augment(augment_config("crop", padding_pixels=3), mirror_allowed=False)
    images = random_images()
    corners = draw_corners(8, 6, generator())
    padded = reference.pad(images.numpy(), 3)
    expected = reference.crop(padded, corners.tolist(), 12)
    np.testing.assert_array_equal(augmented(augment, images, generator()), expected)
    assert augment.output_size(12) == 12


def test_crop_mirror_equals_pad_slice_and_reverse() -> None:
    config = augment_config("crop_mirror", padding_pixels=0, crop_pixels=9)
    augment = build_augment(config, mirror_allowed=True)
    images, source = random_images(), generator()
    corners, flags = draw_corners(8, 3, source), draw_flags(8, source)
    expected = reference.mirror(reference.crop(images.numpy(), corners.tolist(), 9), flags.tolist())
    np.testing.assert_array_equal(augmented(augment, images, generator()), expected)
    assert augment.output_size(12) == 9


def test_the_same_step_gives_the_same_pictures_and_another_step_others() -> None:
    config = augment_config("crop_mirror", padding_pixels=4)
    augment = build_augment(config, mirror_allowed=True)
    images = random_images()
    assert torch.equal(
        augmented(augment, images, generator(3)), augmented(augment, images, generator(3))
    )
    assert not torch.equal(
        augmented(augment, images, generator(3)), augmented(augment, images, generator(4))
    )


def test_corners_reach_all_33x33_places_and_both_ends() -> None:
    corners = draw_corners(100_000, 32, generator())
    places = (corners[:, 0] * 33 + corners[:, 1]).unique()
    assert len(places) == 33 * 33
    assert (corners.amin(), corners.amax()) == (0, 32)


def test_half_of_the_images_are_mirrored() -> None:
    share = draw_flags(100_000, generator()).float().mean()
    assert abs(share - 0.5) < 4 * 0.5 / 100_000**0.5  # four standard deviations


def test_digits_are_not_mirrored_unless_forced() -> None:
    with pytest.raises(UsageError, match="changes the class of digits"):
        build_augment(augment_config("crop_mirror"), mirror_allowed=False)
    build_augment(augment_config("crop_mirror", force_mirror=True), mirror_allowed=False)


def test_a_crop_larger_than_the_image_is_refused_with_the_arithmetic() -> None:
    augment = build_augment(
        augment_config("crop", crop_pixels=40, padding_pixels=2), mirror_allowed=False
    )
    with pytest.raises(UsageError, match="40 does not fit in images of 36 pixels"):
        augment.output_size(32)


def test_a_crop_without_effect_is_refused() -> None:
    with pytest.raises(UsageError, match="no effect"):
        build_augment(augment_config("crop", padding_pixels=0), mirror_allowed=True)
