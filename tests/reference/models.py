"""Slow, obvious versions of what is fast in cnnlab.models: one loop an index of the formula."""

import torch
from torch import Tensor


def convolve(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """Return the valid cross-correlation of one [H, W] image with one [K, K] kernel."""
    height, width = image.shape
    padded = torch.zeros(height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    padded[padding : padding + height, padding : padding + width] = image
    size = len(kernel)
    rows = range(0, padded.shape[0] - size + 1, stride)
    columns = range(0, padded.shape[1] - size + 1, stride)
    values = [[(padded[i : i + size, j : j + size] * kernel).sum() for j in columns] for i in rows]
    return torch.tensor(values, dtype=image.dtype)


def clipped_convolution(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Return the cross-correlation with as many windows as touch the image, each clipped to it.

    [H, W] and [K, K] -> [H', W'], H' = 1 + ceil((H - K) / stride), as in the 2012 source.
    """
    size = len(kernel)
    counts = [1 + -(-(side - size) // stride) for side in image.shape]
    values = torch.zeros(counts, dtype=image.dtype)
    for i in range(counts[0]):
        for j in range(counts[1]):
            patch = image[i * stride : i * stride + size, j * stride : j * stride + size]
            values[i, j] = (patch * kernel[: patch.shape[0], : patch.shape[1]]).sum()
    return values


def response_norm(
    maps: Tensor, size: int, alpha: float, beta: float, k: float, towers: int = 1
) -> Tensor:
    """Return b_i = a_i / (k + alpha sum_j a_j^2)^beta, j the maps of i's tower within size // 2.

    Source: Krizhevsky et al. 2012, section 3.3, with alpha per unit.
    """
    width = maps.shape[1] // towers
    normalized = []
    for i in range(maps.shape[1]):
        first = max(i // width * width, i - size // 2)
        last = min((i // width + 1) * width - 1, i + size // 2)
        total = sum(maps[:, j] ** 2 for j in range(first, last + 1))
        normalized.append(maps[:, i] / (k + alpha * total) ** beta)
    return torch.stack(normalized, 1)


def within_map_norm(maps: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return each unit over (k + alpha sum of squares of the patch around it)^beta."""
    normalized = torch.empty_like(maps)
    reach = size // 2
    for i in range(maps.shape[2]):
        for j in range(maps.shape[3]):
            rows = slice(max(0, i - reach), i + reach + 1)
            columns = slice(max(0, j - reach), j + reach + 1)
            total = (maps[:, :, rows, columns] ** 2).sum((2, 3))
            normalized[:, :, i, j] = maps[:, :, i, j] / (k + alpha * total) ** beta
    return normalized
