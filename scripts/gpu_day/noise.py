"""A data set of random pixels, made as fast as memory is copied: for what only times."""

from functools import cache

import torch
from torch import Tensor

from cnnlab.config.data import DATASETS, DatasetChoice, SyntheticConfig
from cnnlab.data.store import ArrayStore, Splits

NAME = "noise"
NUM_DIFFERENT = 64


def load(config: SyntheticConfig) -> Splits:
    """Return the splits; the images repeat after NUM_DIFFERENT."""
    stores = [
        ArrayStore(
            config.name,
            split,
            _images(number, config.image_size_pixels, config.channels or 3),
            torch.arange(number) % config.num_classes,
            tuple(f"class {index}" for index in range(config.num_classes)),
            mirror_allowed=True,
        )
        for split, number in (("train", config.num_train), ("test", config.num_test))
    ]
    return Splits(stores[0], None, stores[1])


@cache
def _images(number: int, side: int, channels: int) -> Tensor:
    """Return uint8 [N,S,S,C], the same at each call."""
    shape = (min(number, NUM_DIFFERENT), side, side, channels)
    generator = torch.Generator().manual_seed(0)
    different = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return different.repeat(-(-number // len(different)), 1, 1, 1)[:number]


def register() -> None:
    """Let settings name this data set."""
    DATASETS.register(NAME, DatasetChoice(SyntheticConfig, load, mirror_allowed=True))
