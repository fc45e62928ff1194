import pytest
import torch
from torch import Tensor

from cnnlab.config.augment import AUGMENTS
from cnnlab.data import inputs as module
from cnnlab.data.augment import build_augment
from cnnlab.data.inputs import Inputs
from cnnlab.data.store import StoredStatistics
from cnnlab.data.stream import Batch
from cnnlab.distributed.share import RankSlice
from cnnlab.preprocessing import Preprocessing
from tests.data.settings import augment_config

SIDE = 20
SETTINGS = {
    "crop": {"crop_pixels": 16},
    "crop_mirror": {"crop_pixels": 16, "padding_pixels": 2},
    "alexnet": {"crop_pixels": 16, "images_per_draw": 3},
    "resized_crop": {"crop_pixels": 16},
}


def statistics(channels: int) -> StoredStatistics:
    spread = torch.randn(channels, channels, dtype=torch.float64) * 40
    image = torch.rand(SIDE, SIDE, channels, dtype=torch.float64) * 255
    flat = image.mean((0, 1))
    return StoredStatistics(flat, flat.sqrt(), spread @ spread.T, image)


def inputs_of(name: str, channels: int, mean_position: str | None = None) -> Inputs:
    found = statistics(channels)
    settings = SETTINGS.get(name, {})
    if mean_position:
        settings = {**settings, "mean_position": mean_position}
    augmentation = build_augment(
        augment_config(name, **settings), mirror_allowed=True, statistics=lambda: found
    )
    mean = found.mean_image.float().permute(2, 0, 1).contiguous()
    return Inputs(
        augmentation, Preprocessing(channels, SIDE, 0, mean, torch.ones(channels) * 50), seed=3
    )


def batch_of(images: Tensor, rank_slice: RankSlice | None = None) -> Batch:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Batch(images, labels, step=7, epoch=0, rank_slice=rank_slice)


@pytest.mark.parametrize("rank_slice", [None, RankSlice(4, 27, total=30)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(AUGMENTS))
def test_chunks_give_the_same_numbers_as_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, name: str, channels: int, rank_slice: RankSlice | None
) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (23, channels, SIDE, SIDE), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    inputs = inputs_of(name, channels)
    batch = batch_of(images, rank_slice)
    whole = inputs(batch)

    assert inputs._images_per_chunk(images) > 23
    side = whole.shape[-1]
    monkeypatch.setattr(module, "_CHUNK_BYTES", 5 * channels * side * side * 4)
    assert inputs._images_per_chunk(images) == 5

    found = inputs(batch)
    assert torch.equal(found, whole)
    orders = [each.is_contiguous(memory_format=torch.channels_last) for each in (found, whole)]
    assert orders[0] == orders[1]


def test_the_mean_under_the_crop_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (9, 3, SIDE, SIDE), dtype=torch.uint8)
    inputs = inputs_of("alexnet", 3, "cropped")
    whole = inputs(batch_of(images))
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)
    assert torch.equal(inputs(batch_of(images)), whole)
