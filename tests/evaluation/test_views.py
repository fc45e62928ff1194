import pytest
import torch
from torchvision.transforms import v2

from cnnlab.errors import DataError, UsageError
from cnnlab.evaluation import views
from tests.reference.evaluation import five_crops


def pictures(num: int, channels: int, height: int, width: int | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(
        0, 256, (num, channels, height, width or height), dtype=torch.uint8, generator=generator
    )


@pytest.mark.parametrize(("side", "crop"), [(256, 224), (32, 24), (33, 24), (9, 4), (7, 6)])
def test_ten_views_equal_torchvisions_ten_crop_pixel_for_pixel(side, crop):
    images = pictures(3, 3, side)
    ours = views.build("ten_view", crop_pixels=crop)(images)
    theirs = torch.stack([torch.stack(v2.TenCrop(crop)(image)) for image in images])
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("height", "width", "crop"), [(32, 32, 28), (31, 40, 28), (12, 9, 8)])
def test_five_crops_equal_torchvision_and_slices_by_hand(height, width, crop):
    images = pictures(2, 1, height, width)
    ours = views.build("five_crop", crop_pixels=crop)(images)
    assert torch.equal(ours, torch.stack([torch.stack(v2.FiveCrop(crop)(i)) for i in images]))
    assert torch.equal(ours, torch.stack([torch.stack(five_crops(i, crop)) for i in images]))


@pytest.mark.parametrize(("side", "crop"), [(32, 24), (33, 24), (34, 23), (32, 32)])
def test_center_equals_torchvisions_center_crop(side, crop):
    images = pictures(2, 3, side)
    ours = views.build("center", crop_pixels=crop)(images)
    assert ours.shape == (2, 1, 3, crop, crop)
    assert torch.equal(ours[:, 0], v2.CenterCrop(crop)(images))


def test_grid_takes_nine_positions_of_the_cifar_net():
    images = pictures(2, 3, 32)
    ours = views.build("grid_3x3", crop_pixels=24)(images)
    expected = [images[..., r : r + 24, c : c + 24] for r in (0, 4, 8) for c in (0, 4, 8)]
    assert torch.equal(ours, torch.stack(expected, 1))


def test_small_images_are_cut_from_the_training_border():
    images = pictures(1, 1, 28)
    crops = views.build("five_crop", crop_pixels=28, padding_pixels=2)(images)
    assert torch.equal(crops[:, 4], images)
    assert torch.equal(crops[0, 0, 0, 2:, 2:], images[0, 0, :26, :26])
    assert crops[0, 0, 0, :2].sum() == 0
    assert crops[0, 0, 0, :, :2].sum() == 0


def test_digits_refuse_ten_views_and_name_five_crop():
    with pytest.raises(UsageError, match="five_crop") as error:
        views.build(
            "ten_view", crop_pixels=28, image_pixels=32, mirror_allowed=False, dataset="mnist5k"
        )
    assert "mnist5k" in str(error.value)
    assert views.build("five_crop", crop_pixels=28, mirror_allowed=False).num_views == 5


def test_views_without_room_are_refused_instead_of_repeated():
    crop_all = views.build("five_crop", crop_pixels=28)
    with pytest.raises(UsageError, match="same 28-pixel crop"):
        crop_all(pictures(1, 1, 28))


def test_images_smaller_than_the_crop_name_both_sizes():
    with pytest.raises(DataError, match=r"20x30.*24"):
        views.build("center", crop_pixels=24)(pictures(1, 1, 20, 30))


def test_unknown_views_list_the_known_ones():
    with pytest.raises(UsageError, match="center, five_crop, ten_view, grid_3x3"):
        views.build("twelve", crop_pixels=8)


@pytest.mark.parametrize(
    ("name", "number"), [("center", 1), ("five_crop", 5), ("ten_view", 10), ("grid_3x3", 9)]
)
def test_number_of_views_is_what_is_cut(name, number):
    built = views.build(name, crop_pixels=4)
    assert built.num_views == number
    assert built(pictures(2, 1, 8)).shape == (2, number, 1, 4, 4)
