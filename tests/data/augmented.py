"""Draw, then apply, as training does."""

from torch import Generator, Tensor

from cnnlab.data.augment import Augmentation, rows_of
from cnnlab.distributed.share import RankSlice


def augmented(
    augmentation: Augmentation,
    images: Tensor,
    generator: Generator,
    rank_slice: RankSlice | None = None,
) -> Tensor:
    """Augment images that are all of a batch, or the given rows of it."""
    own = rank_slice or RankSlice(0, len(images), len(images))
    drawn = augmentation.draw(own.total, images.shape[-1], generator)
    return augmentation.apply(images, rows_of(drawn, own.rows))
