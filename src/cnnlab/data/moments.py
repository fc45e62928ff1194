"""Sums over a stream of images, exact whatever the order: mean, deviation, covariance, PCA."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab.data.store import StoredStatistics

_BLOCK_PIXELS = 256
"""255 * 255 * 256 is below 2^24: a float32 sum of so many products of levels is exact."""


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
        """Add uint8 [N,H,W,C]; changes this object."""
        self.num_images += len(images)
        self.pixel += images.sum(0, dtype=torch.int64)
        self.product += sum_products(images)

    def statistics(self) -> StoredStatistics:
        """Return mean and deviation a channel, covariance of the channels, and the mean image."""
        num_pixels = self.num_images * self.pixel.shape[0] * self.pixel.shape[1]
        mean = self.pixel.sum((0, 1)).double() / num_pixels
        covariance = self.product.double() / num_pixels - mean[:, None] * mean
        std = covariance.diagonal().clamp_min(0).sqrt()
        std = torch.where(std > 0, std, torch.ones_like(std))
        return StoredStatistics(mean, std, covariance, self.pixel.double() / self.num_images)


def sum_products(images: Tensor) -> Tensor:
    """Return int64 [C,C], the products of every two channels summed over all pixels, exactly."""
    channels = images.shape[-1]
    total = torch.zeros((channels, channels), dtype=torch.float64)
    for image in images.split(64):
        flat = image.reshape(-1, channels)
        whole = len(flat) - len(flat) % _BLOCK_PIXELS
        for part in (flat[:whole].view(-1, _BLOCK_PIXELS, channels), flat[whole:][None]):
            levels = part.float()
            total += torch.bmm(levels.transpose(1, 2), levels).sum(0, dtype=torch.float64)
    return total.round().long()


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
