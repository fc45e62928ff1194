import numpy as np
import pytest
import torch

from cnnlab.data.stats import preprocessing_for, statistics_of
from cnnlab.data.store import ArrayStore
from cnnlab.errors import UsageError
from tests.data.disk_formats import random_pixels
from tests.data.settings import dataset_config
from tests.reference import images as reference


def store(images: np.ndarray) -> ArrayStore:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return ArrayStore("tiny", "train", torch.from_numpy(images), labels, ("only",), True)


def test_statistics_equal_those_of_all_pixels_at_once() -> None:
    images = random_pixels(0, 5000, 5, 7, 3) // np.array([1, 2, 3], np.uint8)
    found = statistics_of(store(images), lambda batch: batch)
    mean, std = found.mean, found.std
    expected = reference.statistics(images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6)
    np.testing.assert_allclose(std, expected[1], rtol=1e-6)


def test_normalized_training_images_have_mean_0_and_std_1_with_their_padding() -> None:
    images = random_pixels(0, 200, 28, 28, 1)
    preprocessing = preprocessing_for(store(images), dataset_config("mnist"), channels=1)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    normal = preprocessing.normalize(preprocessing.prepare(batch)).double()
    assert normal.shape == (200, 1, 32, 32)
    assert abs(normal.mean()) < 1e-5
    assert abs(normal.std(correction=0) - 1) < 1e-5


def test_a_constant_channel_is_not_divided() -> None:
    images = np.full((4, 3, 3, 2), 7, np.uint8)
    found = statistics_of(store(images), lambda batch: batch)
    mean, std = found.mean, found.std
    assert mean.tolist() == [7, 7]
    assert std.tolist() == [1, 1]


def test_padding_that_leaves_no_content_is_refused() -> None:
    config = dataset_config("mnist", image_size_pixels=32, pad_pixels=16)
    with pytest.raises(UsageError, match="leaves no pixels"):
        preprocessing_for(store(random_pixels(0, 4, 28, 28, 1)), config, channels=1)
