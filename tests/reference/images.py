"""Slow obvious versions of the pixel functions: one image, one pixel at a time, in NumPy."""

import numpy as np


def pad(images: np.ndarray, pixels: int, value: int = 0) -> np.ndarray:
    num, channels, height, width = images.shape
    out = np.full((num, channels, height + 2 * pixels, width + 2 * pixels), value, images.dtype)
    for n in range(num):
        for y in range(height):
            for x in range(width):
                out[n, :, y + pixels, x + pixels] = images[n, :, y, x]
    return out


def crop(images: np.ndarray, corners: list[tuple[int, int]], size: int) -> np.ndarray:
    return np.stack(
        [
            image[:, top : top + size, left : left + size]
            for image, (top, left) in zip(images, corners, strict=True)
        ]
    )


def mirror(images: np.ndarray, flags: list[bool]) -> np.ndarray:
    return np.stack(
        [image[:, :, ::-1] if flag else image for image, flag in zip(images, flags, strict=True)]
    )


def to_grey(images: np.ndarray) -> np.ndarray:
    weights = (0.299, 0.587, 0.114)
    grey = sum(weight * images[:, c].astype(np.float64) for c, weight in enumerate(weights))
    return np.round(grey)[:, None].astype(np.uint8)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize one [H,W] plane with a triangle filter as wide as the reduction, rows then columns."""
    return _resize_columns(_resize_columns(image.astype(np.float64), width).T, height).T


def _resize_columns(plane: np.ndarray, width: int) -> np.ndarray:
    scale = plane.shape[1] / width
    reach = max(scale, 1.0)
    out = np.zeros((plane.shape[0], width))
    for x in range(width):
        center = (x + 0.5) * scale
        weights = [max(0.0, 1 - abs((j + 0.5 - center) / reach)) for j in range(plane.shape[1])]
        out[:, x] = plane @ (np.array(weights) / sum(weights))
    return out


def normalize(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    out = np.zeros(images.shape)
    for n, image in enumerate(images):
        for c, plane in enumerate(image):
            out[n, c] = (plane.astype(np.float64) - mean[c]) / std[c]
    return out


def statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel of [N,C,H,W]."""
    planes = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
    return planes.mean(1), planes.std(1)
