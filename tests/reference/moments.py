"""Mean, deviation, covariance and mean image from all pixels at once, in float64."""

import numpy as np


def statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """images: [N,H,W,C]."""
    pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
    return {
        "mean": pixels.mean(0),
        "std": pixels.std(0),
        "covariance": np.atleast_2d(np.cov(pixels.T, bias=True)),
        "mean_image": images.astype(np.float64).mean(0),
    }


def principal_components(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, largest first, and eigenvectors as columns."""
    values, vectors = np.linalg.eigh(statistics(images)["covariance"])
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]
