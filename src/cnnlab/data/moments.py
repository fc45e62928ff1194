"""Exact sums over images, in any order: mean, standard deviation, covariance, PCA."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.store import StoredStatistics

_BLOCK_ROWS = 256
"""255 * 255 * 256 is below 2^24: a float32 sum of 256 products of levels is exact."""

_PIXELS_PER_ROW = 4
"""Neighboring pixels that form a row; the products within a pixel are picked out: a matrix
product of three columns takes twice as long as one of twelve."""

_PIXELS_AT_ONCE = 65_536
"""Few enough for their float32 copy to stay in the cache."""

_IMAGES_AT_ONCE = 257
"""255 * 257 is below 2^16: a 16-bit sum of 257 levels is exact, and four times as fast."""


@dataclass(eq=False)
class Sums:
    """num_images; pixel: int64 [H,W,C], levels summed over images; product: int64 [C,C]."""

    num_images: int
    pixel: Tensor
    product: Tensor

    @staticmethod
    def empty(image_shape: tuple[int, int, int]) -> "Sums":
        """Return the sums over no images."""
        channels = image_shape[2]
        return Sums(
            0,
            torch.zeros(image_shape, dtype=torch.int64),
            torch.zeros((channels, channels), dtype=torch.int64),
        )

    def add(self, images: Tensor) -> None:
        """Add uint8 [N,H,W,C], in place; exact."""
        self.num_images += len(images)
        for part in images.split(_IMAGES_AT_ONCE):
            levels = np.add.reduce(part.numpy(), axis=0, dtype=np.uint16)
            self.pixel += torch.from_numpy(levels.astype(np.int64))
        for pixels in images.contiguous().view(-1, images.shape[-1]).split(_PIXELS_AT_ONCE):
            self.product += sum_products(pixels.float())

    def statistics(self) -> StoredStatistics:
        """Return mean and standard deviation per channel, their covariance, and the mean image."""
        num_pixels = self.num_images * self.pixel.shape[0] * self.pixel.shape[1]
        mean = self.pixel.sum((0, 1)).double() / num_pixels
        covariance = self.product.double() / num_pixels - mean[:, None] * mean
        std = covariance.diagonal().clamp_min(0).sqrt()
        std = torch.where(std > 0, std, torch.ones_like(std))
        return StoredStatistics(mean, std, covariance, self.pixel.double() / self.num_images)


def sum_products(levels: Tensor) -> Tensor:
    """Return int64 [C,C], the products of every two channels summed over all pixels, exactly.

    levels: float32 [pixels,C], integers in 0..255.
    """
    channels = levels.shape[1]
    whole = len(levels) - len(levels) % (_BLOCK_ROWS * _PIXELS_PER_ROW)
    blocks = levels[:whole].view(-1, _BLOCK_ROWS, _PIXELS_PER_ROW * channels)
    products = _sum_of_blocks(blocks).view(_PIXELS_PER_ROW, channels, _PIXELS_PER_ROW, channels)
    total = products.diagonal(dim1=0, dim2=2).sum(-1)

    for rest in levels[whole:].split(_BLOCK_ROWS) if whole < len(levels) else ():
        total += _sum_of_blocks(rest[None])
    return total.round().long()


def _sum_of_blocks(blocks: Tensor) -> Tensor:
    """Return float64 [columns,columns] for float32 [blocks,rows,columns]; each block is exact."""
    return torch.bmm(blocks.transpose(1, 2), blocks).sum(0, dtype=torch.float64)


def principal_components(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues float64 [C], descending, and eigenvectors [C,C], one per column.

    The largest component of each eigenvector is positive: the same pixels always give the same
    vectors.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    largest = vectors.abs().argmax(0)
    signs = vectors.gather(0, largest[None]).sign()
    return values, vectors * signs
