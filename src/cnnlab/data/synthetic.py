"""synthetic: one blurred random pattern per class, shifted and noisy; nothing is read from disk."""

import hashlib

import torch
from torch import Tensor

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, SyntheticConfig
from cnnlab.data.store import Splits, Store
from cnnlab.errors import DataError, UsageError
from cnnlab.images import resize
from cnnlab.runtime import make_generator

_SEED = 0
_COARSE_PIXELS = 4
_MOST_SHIFT = 0.125
_LEVELS = 200
_NUM_NOISES = 16
_MOST_VALUES = 1 << 30  # a few GB while they are made


def load(config: DatasetConfig) -> Splits:
    """Return training and test images of the size that dataset.image_size_pixels asks for."""
    assert isinstance(config, SyntheticConfig)
    if min(config.num_train, config.num_test) < config.num_classes:
        raise UsageError(
            f"dataset.num_classes={config.num_classes} is more than the number of images",
            f"dataset.num_train={config.num_train}, dataset.num_test={config.num_test}",
        )
    return Splits(
        SyntheticStore(config, "train", config.num_train),
        None,
        SyntheticStore(config, "test", config.num_test),
    )


class SyntheticStore(Store):
    """Images generated when they are read; image k of a split is always the same."""

    def __init__(self, config: SyntheticConfig, split: str, num_images: int) -> None:
        side, channels = config.image_size_pixels - 2 * config.pad_pixels, config.channels or 3
        self.name, self.split = "synthetic", split
        self.mirror_allowed = bool(DATASETS[self.name].mirror_allowed)
        self.labels = torch.arange(num_images) % config.num_classes
        self.class_names = tuple(f"pattern {number}" for number in range(config.num_classes))
        self.image_shape = (side, side, channels)

        num_values = (config.num_classes + _NUM_NOISES) * side * side * channels
        if num_values > _MOST_VALUES:
            raise DataError(
                f"the patterns of {config.num_classes:,} classes have {num_values:,} values",
                hint="smaller images, or fewer classes",
            )
        self._noise = config.noise_levels
        self._patterns = _patterns(config.num_classes, side, channels)
        self._noises = _noise_bank(config.noise_levels, self.image_shape)
        self._draws = torch.rand(
            (num_images, 3), generator=make_generator(_SEED, f"synthetic {split}")
        )

    def read(self, indices: Tensor) -> Tensor:
        side = self.image_shape[0]
        draws = self._draws[indices]
        room = max(1, int(_MOST_SHIFT * side))
        corners = (draws[:, :2] * (2 * room + 1)).long() - room
        rows = (torch.arange(side) + corners[:, 0, None]) % side
        columns = (torch.arange(side) + corners[:, 1, None]) % side
        labels = self.labels[indices][:, None, None]
        images = self._patterns[labels, rows[:, :, None], columns[:, None, :]]
        noise = self._noises[(draws[:, 2] * len(self._noises)).long()]
        return (images + noise).clamp_(0, 255).to(torch.uint8)

    def _digest(self) -> str:
        state = hashlib.sha256(f"{self.split} {len(self)} {self._noise}".encode())
        state.update(self._patterns.numpy().tobytes())
        return state.hexdigest()


def _patterns(num_classes: int, side: int, channels: int) -> Tensor:
    """Return int16 [K,side,side,C]: a few random blobs per class, in 28..227."""
    shape = (num_classes, channels, _COARSE_PIXELS, _COARSE_PIXELS)
    coarse = torch.rand(shape, generator=make_generator(_SEED, "synthetic patterns"))
    patterns = resize(coarse * _LEVELS + 28, side, "bilinear").permute(0, 2, 3, 1)
    return patterns.round().to(torch.int16).contiguous()


def _noise_bank(levels: float, shape: tuple[int, int, int]) -> Tensor:
    """Return int16 [_NUM_NOISES,H,W,C]: no two images of a class are alike, and cheap to add."""
    generator = make_generator(_SEED, "synthetic noise")
    return (
        (torch.randn((_NUM_NOISES, *shape), generator=generator) * levels).round().to(torch.int16)
    )
