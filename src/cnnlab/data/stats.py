"""Statistics of the training images, and the preprocessing fitted to them."""

import torch
from torch import Tensor

from cnnlab.config import DatasetConfig
from cnnlab.data.moments import Sums
from cnnlab.data.residency import CHUNK_IMAGES, Prepare
from cnnlab.data.store import Store, StoredStatistics, all_indices
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import make_generator

MAX_DECODED = 50_000
"""Where files must be decoded, statistics are of a sample of this many, drawn with a fixed seed."""

_MEAN_1998, _STD_1998 = 20.0, 200.0


def preprocessing_for(store: Store, config: DatasetConfig, channels: int) -> Preprocessing:
    """Fit the preprocessing of a network with `channels` input channels to `store`.

    store: training images only. The statistics include the padding, as the network sees the images:
    with normalize=channel its input has mean 0 and standard deviation 1 exactly. pixel subtracts
    the mean image and does not divide (Source: Krizhevsky et al. 2012, section 2); lenet5_1998
    maps background to -0.1 and ink to 1.175 (Source: LeCun et al. 1998, II-B).
    Raises UsageError when the padding leaves no room for content, and for normalize=checkpoint,
    whose statistics are not in a data set.
    """
    if config.normalize == "checkpoint":
        raise UsageError(
            "dataset.normalize=checkpoint needs model.weights to take the statistics from",
            hint="dataset.normalize=channel",
        )

    size, padding = config.image_size_pixels, config.pad_pixels
    if size <= 2 * padding:
        raise UsageError(
            f"dataset.pad_pixels={padding} leaves no pixels of dataset.image_size_pixels={size}"
        )

    plain = Preprocessing(channels, size, padding, torch.zeros(channels), torch.ones(channels))
    if config.normalize == "lenet5_1998":
        mean, std = torch.full((channels,), _MEAN_1998), torch.full((channels,), _STD_1998)
    else:
        found = statistics_for(store, plain)
        mean, std = found.mean.float(), found.std.float()
        if config.normalize == "pixel":
            mean, std = found.mean_image.float().permute(2, 0, 1).contiguous(), plain.std
    return Preprocessing(channels, size, padding, mean, std)


def statistics_for(store: Store, preprocessing: Preprocessing) -> StoredStatistics:
    """Return the recorded statistics if the network sees images as stored, else compute them."""
    size, channels = preprocessing.image_size_pixels, preprocessing.channels
    if store.statistics is not None and store.image_shape == (size, size, channels):
        return store.statistics
    return statistics_of(store, preprocessing.prepare)


def statistics_of(store: Store, prepare: Prepare) -> StoredStatistics:
    """Compute the statistics of the prepared images, from exact integer sums."""
    sums: Sums | None = None
    for indices in _sample(store).split(CHUNK_IMAGES if not store.decodes else 64):
        images = prepare(store.read(indices).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if sums is None:
            height, width, channels = images.shape[1:]
            sums = Sums.empty((height, width, channels))
        sums.add(images)
    assert sums is not None, "a Store is never empty"
    return sums.statistics()


def _sample(store: Store) -> Tensor:
    if not store.decodes or len(store) <= MAX_DECODED:
        return all_indices(store)
    drawn = torch.randperm(len(store), generator=make_generator(0, "statistics"))
    return drawn[:MAX_DECODED].sort().values
