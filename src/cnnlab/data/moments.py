"""Sums over a stream of images, exact whatever the order: mean, deviation, covariance, PCA."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab.data.store import StoredStatistics

_BLOCK_ROWS = 256
"""255 * 255 * 256 is below 2^24: a float32 sum of so many products of levels is exact."""

_EXACT_IMAGES = 60_000
"""255 * 60,000 is below 2^24: a float32 sum of so many levels is exact."""

_PIXELS_A_ROW = 4
"""Products of so many neighbours are taken together, and those of one pixel picked out: a matrix
of three columns takes twice as long as one of twelve."""

_CACHED_VALUES = 65_536
"""Few enough that their float32 copy stays in the cache of one core."""


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
        """Add uint8 [N,H,W,C]; changes this object.

        Both sums are taken from float32, in parts so small that nothing is rounded.
        """
        self.num_images += len(images)
        for part in images.split(_EXACT_IMAGES):
            pixel = torch.zeros_like(self.pixel, dtype=torch.float32)
            for few in part.split(max(1, _CACHED_VALUES // self.pixel.numel())):
                self._add_few(few, pixel)
            self.pixel += pixel.long()

    def _add_few(self, images: Tensor, pixel: Tensor) -> None:
        """Add images to `pixel` and to the products, some lines at a time where they are large."""
        lines = max(1, _CACHED_VALUES // (len(images) * pixel[0].numel()))
        for part, total in zip(images.split(lines, 1), pixel.split(lines), strict=True):
            levels = part.float()
            total += levels.sum(0) if len(levels) > 1 else levels[0]
            self.product += sum_products(levels)

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

    levels: float32 [N,H,W,C], whole numbers in 0..255.
    """
    channels = levels.shape[-1]
    flat = levels.reshape(-1, channels)
    whole = len(flat) - len(flat) % (_BLOCK_ROWS * _PIXELS_A_ROW)
    together, few = flat[:whole].view(-1, _BLOCK_ROWS, _PIXELS_A_ROW * channels), flat[whole:]
    products = _sum_of_blocks(together).view(_PIXELS_A_ROW, channels, _PIXELS_A_ROW, channels)
    rest = few.split(_BLOCK_ROWS) if len(few) else ()
    total = sum((_sum_of_blocks(part[None]) for part in rest), torch.zeros(channels, channels))
    return (products.diagonal(dim1=0, dim2=2).sum(-1) + total).round().long()


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
