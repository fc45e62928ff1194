"""Sums over a stream of images, exact whatever the order: mean, deviation, covariance, PCA."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.store import StoredStatistics

_BLOCK_ROWS = 256
"""255 * 255 * 256 is below 2^24: a float32 sum of so many products of levels is exact."""

_PIXELS_A_ROW = 4
"""Products of so many neighbours are taken together, and those of one pixel picked out: a matrix
of three columns takes twice as long as one of twelve."""

_PIXELS_AT_ONCE = 65_536
"""Few enough that their float32 copy is made in memory that was just used."""

_IMAGES_AT_ONCE = 257
"""255 * 257 is below 2^16: a 16-bit sum of so many levels is exact, and four times as fast."""


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
        """Add uint8 [N,H,W,C]; changes this object. Nothing is rounded."""
        self.num_images += len(images)
        for part in images.split(_IMAGES_AT_ONCE):
            levels = np.add.reduce(part.numpy(), axis=0, dtype=np.uint16)
            self.pixel += torch.from_numpy(levels.astype(np.int64))
        for pixels in images.contiguous().view(-1, images.shape[-1]).split(_PIXELS_AT_ONCE):
            self.product += sum_products(pixels.float())

    def statistics(self) -> StoredStatistics:
        """Return mean and deviation a channel, covariance of the channels, and the mean image."""
        num_pixels = self.num_images * self.pixel.shape[0] * self.pixel.shape[1]
        mean = self.pixel.sum((0, 1)).double() / num_pixels
        covariance = self.product.double() / num_pixels - mean[:, None] * mean
        std = covariance.diagonal().clamp_min(0).sqrt()
        std = torch.where(std > 0, std, torch.ones_like(std))
        return StoredStatistics(mean, std, covariance, self.pixel.double() / self.num_images)


def sum_products(levels: Tensor) -> Tensor:
    """Return int64 [C,C], the products of every two channels summed over all pixels, exactly.

    levels: float32 [pixels,C], whole numbers in 0..255.
    """
    channels = levels.shape[1]
    whole = len(levels) - len(levels) % (_BLOCK_ROWS * _PIXELS_A_ROW)
    together = levels[:whole].view(-1, _BLOCK_ROWS, _PIXELS_A_ROW * channels)
    products = _sum_of_blocks(together).view(_PIXELS_A_ROW, channels, _PIXELS_A_ROW, channels)
    total = products.diagonal(dim1=0, dim2=2).sum(-1)
    for few in levels[whole:].split(_BLOCK_ROWS) if whole < len(levels) else ():
        total += _sum_of_blocks(few[None])
    return total.round().long()


def _sum_of_blocks(blocks: Tensor) -> Tensor:
    """Return float64 [columns,columns] of float32 [blocks,rows,columns]: no block is rounded."""
    return torch.bmm(blocks.transpose(1, 2), blocks).sum(0, dtype=torch.float64)


def principal_components(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues float64 [C], largest first, and eigenvectors [C,C], one a column.

    The component of largest size in each eigenvector is positive, so that the same pixels always
    give the same vectors.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    largest = vectors.abs().argmax(0)
    signs = vectors.gather(0, largest[None]).sign()
    return values, vectors * signs
