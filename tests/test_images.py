import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from cnnlab import images as pixels
from tests.reference import images as reference


def random_images(num: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (num, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


LAYOUTS = {
    "contiguous": lambda images: images,
    "channels_last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "expanded": lambda images: images[:1].expand_as(images),
}


@pytest.fixture(params=["all at once", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy as small images are copied, and as large ones are."""
    monkeypatch.setattr(pixels, "_LARGE_BYTES", 0 if request.param == "one by one" else 1 << 40)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_equals_slicing_one_image_at_a_time(layout: str, dtype: torch.dtype) -> None:
    images = LAYOUTS[layout](random_images(7, 3, 12, 15)).to(dtype)
    corners = torch.tensor([[0, 0], [4, 7], [0, 7], [4, 0], [2, 3], [1, 6], [3, 1]])
    expected = reference.crop(images.numpy(), corners.tolist(), 8)
    found = pixels.crop(images, corners, 8)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(
    num=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_crop_reaches_every_position(
    num: int, channels: int, sides: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, min(sides)))
    images = random_images(num, channels, *sides, seed=seed)
    place = st.tuples(st.integers(0, sides[0] - size), st.integers(0, sides[1] - size))
    corners = data.draw(st.lists(place, min_size=num, max_size=num))
    expected = reference.crop(images.numpy(), corners, size)
    np.testing.assert_array_equal(pixels.crop(images, torch.tensor(corners), size), expected)


@pytest.mark.usefixtures("way")
def test_mirror_reflects_only_the_flagged_images() -> None:
    images = random_images(5, 3, 4, 6)
    flags = [True, False, False, True, True]
    expected = reference.mirror(images.numpy(), flags)
    for layout in ("contiguous", "channels_last"):
        found = pixels.mirror(LAYOUTS[layout](images), torch.tensor(flags))
        np.testing.assert_array_equal(found, expected)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_pad_puts_a_border_of_the_value_around() -> None:
    images = random_images(2, 3, 4, 5)
    expected = reference.pad(images.numpy(), 2, 7)
    np.testing.assert_array_equal(pixels.pad(images, 2, 7), expected)


@pytest.mark.parametrize("side", [5, 6, 7, 8, 9, 12])
def test_center_crop_takes_the_pixels_that_torchvision_takes(side: int) -> None:
    from torchvision.transforms.v2.functional import center_crop

    images = random_images(2, 1, side, side + 1)
    assert torch.equal(pixels.center_crop(images, 5), center_crop(images, [5, 5]))


@pytest.mark.parametrize("size", [(5, 7), (14, 14), (20, 31), (40, 40), (28, 9)])
def test_resize_equals_the_triangle_filter_to_one_level(size: tuple[int, int]) -> None:
    image = random_images(1, 1, 20, 31)
    expected = reference.resize(image[0, 0].numpy(), *size)
    found = pixels.resize(image, size)
    assert found.dtype == torch.uint8
    assert np.abs(found[0, 0].numpy() - expected).max() <= 1  # fixed-point weights in the kernel


@pytest.mark.parametrize("size", [7, 16, 50])
def test_resize_equals_pillow_to_one_level(size: int) -> None:
    image = random_images(1, 3, 24, 24)
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
    found = pixels.resize(image, size)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1


def test_resize_of_batches_in_either_memory_format_is_the_same() -> None:
    images = random_images(3, 3, 20, 20)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pixels.resize(images, 9), pixels.resize(last, 9))


def test_resize_to_the_same_size_changes_nothing() -> None:
    images = random_images(2, 3, 9, 9)
    assert pixels.resize(images, 9) is images


@pytest.mark.parametrize(("height", "width"), [(10, 30), (30, 10), (500, 33), (10, 10), (7, 8)])
def test_shorter_side_then_center_crop(height: int, width: int) -> None:
    column = torch.arange(width).expand(height, width) * (255 // width)
    square = pixels.resize_shorter_side(column[None, None].to(torch.uint8), 8)
    assert square.shape == (1, 1, 8, 8)
    center = square[0, 0].float().mean()
    assert abs(center - column.float().mean()) <= 255 / min(height, width)


def test_gray_is_repeated_and_color_is_weighted() -> None:
    gray, color = random_images(2, 1, 4, 4), random_images(2, 3, 4, 4)
    assert torch.equal(pixels.to_channels(gray, 3), torch.cat([gray] * 3, dim=1))
    np.testing.assert_array_equal(pixels.to_channels(color, 1), reference.to_gray(color.numpy()))
    assert pixels.to_channels(color, 3) is color


def test_gray_survives_the_way_to_color_and_back() -> None:
    gray = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(pixels.to_channels(pixels.to_channels(gray, 3), 1), gray)


def test_nothing_is_changed_in_place() -> None:
    images = random_images(4, 3, 10, 10)
    before = images.clone()
    pixels.crop(images, torch.zeros(4, 2, dtype=torch.int64), 5).fill_(0)
    pixels.mirror(images, torch.ones(4, dtype=torch.bool))
    pixels.pad(images, 1)
    pixels.resize_shorter_side(images, 5)
    assert torch.equal(images, before)


def test_an_image_becomes_a_batch_in_its_own_memory_format() -> None:
    turned = random_images(1, 3, 50, 70)[0].permute(1, 2, 0).contiguous().permute(2, 0, 1)
    batch = pixels.as_batch(turned)
    assert torch.equal(batch, turned[None])
    assert batch.data_ptr() == turned.data_ptr()
    resized = pixels.resize(batch, 32)
    assert resized.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(resized, pixels.resize(turned.contiguous()[None], 32))
