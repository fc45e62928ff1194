"""What the training images look like on average, and the preprocessing that follows from it."""

import torch
from torch import Tensor

from cnnlab.config import DatasetConfig
from cnnlab.data.residency import CHUNK_IMAGES, Prepare
from cnnlab.data.store import Store, all_indices
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing


def preprocessing_for(store: Store, config: DatasetConfig, channels: int) -> Preprocessing:
    """Return the preprocessing of a network with `channels` input planes, fitted to `store`.

    store: training images only. The mean and deviation of each channel are those of the images as
    the network sees them, the border included: its input then has mean 0 and deviation 1 exactly.
    Raises UsageError when the border leaves no room for content.
    """
    size, padding = config.image_size_pixels, config.pad_pixels
    if size <= 2 * padding:
        raise UsageError(
            f"dataset.pad_pixels={padding} leaves nothing of dataset.image_size_pixels={size}"
        )
    plain = Preprocessing(channels, size, padding, torch.zeros(channels), torch.ones(channels))
    mean, std = channel_statistics(store, plain.prepare)
    return Preprocessing(channels, size, padding, mean, std)


def channel_statistics(store: Store, prepare: Prepare) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each channel over all prepared images, in levels.

    Computed from counts of the 256 levels, so the sums are exact integers. A channel that never
    changes gets deviation 1.
    """
    counts: Tensor | None = None
    for indices in all_indices(store).split(CHUNK_IMAGES):
        images = prepare(store.read(indices).permute(0, 3, 1, 2))
        chunk = count_levels(images)
        counts = chunk if counts is None else counts + chunk
    assert counts is not None, "a Store is never empty"
    return moments(counts)


def count_levels(images: Tensor) -> Tensor:
    """Return int64 [C,256]: how often each level occurs in each channel of uint8 [N,C,H,W]."""
    planes = images.transpose(0, 1).flatten(1)
    return torch.stack([torch.bincount(plane, minlength=256) for plane in planes])


def moments(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return float32 mean and deviation [C] of the levels counted in int64 [C,256]."""
    levels = torch.arange(256)
    total = counts.sum(1).double()
    mean = (counts * levels).sum(1).double() / total
    variance = (counts * levels**2).sum(1).double() / total - mean**2
    std = variance.clamp_min(0).sqrt()
    return mean.float(), torch.where(std > 0, std, torch.ones(1).double()).float()
