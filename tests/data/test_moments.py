import numpy as np
import pytest
import torch

from cnnlab.data.moments import Sums, sum_products
from tests.reference import moments as reference


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("num", "side"), [(1, 1), (3, 40), (700, 5)])
def test_sums_equal_integer_sums(num: int, side: int, channels: int) -> None:
    images = torch.randint(0, 256, (num, side, side, channels), dtype=torch.uint8)
    sums = Sums.empty((side, side, channels))
    for number, part in enumerate(images.split(400)):
        planes = part.permute(0, 3, 1, 2).contiguous()
        sums.add(planes.permute(0, 2, 3, 1) if number == 0 else part)  # in any memory order
    flat = images.reshape(-1, channels).long()
    assert sums.num_images == num
    assert torch.equal(sums.pixel, images.long().sum(0))
    assert torch.equal(sums.product, flat.T @ flat)


def test_the_brightest_images_do_not_overflow() -> None:
    sums = Sums.empty((32, 32, 3))
    sums.add(torch.full((600, 32, 32, 3), 255, dtype=torch.uint8))
    assert (sums.pixel == 255 * 600).all()
    assert (sums.product == 255 * 255 * 600 * 32 * 32).all()
    levels = torch.full((70_001, 3), 255.0)
    assert (sum_products(levels) == 255 * 255 * 70_001).all()


def test_statistics_equal_those_of_all_pixels_at_once() -> None:
    images = torch.randint(0, 256, (300, 9, 9, 3), dtype=torch.uint8)
    sums = Sums.empty((9, 9, 3))
    sums.add(images)
    expected, found = reference.statistics(images.numpy()), sums.statistics()
    np.testing.assert_allclose(found.covariance, expected["covariance"], rtol=1e-9)
    np.testing.assert_allclose(found.mean_image, expected["mean_image"], rtol=1e-12)
