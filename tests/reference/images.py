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


def to_gray(images: np.ndarray) -> np.ndarray:
    weights = (0.299, 0.587, 0.114)
    gray = sum(weight * images[:, c].astype(np.float64) for c, weight in enumerate(weights))
    return np.round(gray)[:, None].astype(np.uint8)


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


def sample(plane: np.ndarray, y: float, x: float, border: str) -> float:
    """Read [H,W] between pixels, whose centers lie at whole numbers; zero or the edge outside."""
    height, width = plane.shape
    if border == "edge":
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total += weight_y * weight_x * plane[row, column]
    return total


def affine(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move one [C,H,W] image; matrix [2,3] maps output to input, in [-1, 1] from edge to edge."""
    channels, height, width = image.shape
    out = np.zeros((channels, height, width))
    for row in range(height):
        for column in range(width):
            place = np.array([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1.0])
            x, y = matrix @ place
            at_y, at_x = ((y + 1) * height - 1) / 2, ((x + 1) * width - 1) / 2
            for c in range(channels):
                out[c, row, column] = sample(image[c], at_y, at_x, "zero")
    return out


def resized_box(image: np.ndarray, box: tuple[float, ...], size: int) -> np.ndarray:
    """Resize the box (top, left, height, width) of one [C,H,W] image without antialiasing."""
    top, left, height, width = box
    out = np.zeros((image.shape[0], size, size))
    for row in range(size):
        for column in range(size):
            at_y = top + (row + 0.5) * height / size - 0.5
            at_x = left + (column + 0.5) * width / size - 0.5
            for c, plane in enumerate(image):
                out[c, row, column] = sample(plane, at_y, at_x, "edge")
    return out


def shift_colors(images: np.ndarray, factors: np.ndarray, values: np.ndarray, vectors: np.ndarray):
    """Add sum over components of factor * sqrt(eigenvalue) * eigenvector to every pixel."""
    out = images.astype(np.float64).copy()
    for n in range(len(images)):
        for c in range(images.shape[1]):
            for k in range(len(values)):
                out[n, c] += factors[n, k] * np.sqrt(values[k]) * vectors[c, k]
    return out
