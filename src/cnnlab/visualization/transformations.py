"""Images moved, scaled and turned by known amounts, as in figure 5 of Zeiler and Fergus."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8)
DEGREES = tuple(range(-180, 181, 30))
PLACES_EACH_WAY = 8


@dataclass(frozen=True)
class Transformation:
    """One way to change images. unit: of its amounts. still: the amount that changes nothing."""

    name: str
    unit: str
    amounts: Sequence[float]
    still: float
    apply: Callable[[Tensor, float], Tensor]


def shift(images: Tensor, pixels: int) -> Tensor:
    """Move images [N,C,S,S] to the right (left when negative); the border column is repeated."""
    side = images.shape[-1]
    columns = (torch.arange(side, device=images.device) - pixels).clamp(0, side - 1)
    return images[..., columns]


def shift_down(images: Tensor, pixels: int) -> Tensor:
    """Move images down (up when negative); the border row is repeated."""
    return shift(images.mT, pixels).mT


def scale(images: Tensor, factor: float) -> Tensor:
    """Enlarge uint8 images around their center, or shrink them; border pixels are repeated."""
    return _resampled(images, [[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]])


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn uint8 images around their center, counterclockwise; border pixels are repeated."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return _resampled(images, [[cosine, -sine, 0.0], [sine, cosine, 0.0]])


def _resampled(images: Tensor, matrix: list[list[float]]) -> Tensor:
    """Read each pixel where the matrix sends it, in coordinates of -1..1, bilinearly."""
    theta = torch.tensor(matrix, device=images.device).expand(len(images), 2, 3)
    places = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(
        images.float(), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved.round().clamp(0, 255).to(images.dtype)


def transformations(side: int) -> tuple[Transformation, ...]:
    """Return the four ways, for images of `side` pixels; shifts reach a quarter of it."""
    reach = max(2, side // 4)
    step = max(1, reach // PLACES_EACH_WAY)
    shifts = list(range(-(reach // step) * step, reach + 1, step))
    return (
        Transformation("shift right", "pixels", shifts, 0, lambda im, by: shift(im, int(by))),
        Transformation("shift down", "pixels", shifts, 0, lambda im, by: shift_down(im, int(by))),
        Transformation("scale", "factor", SCALES, 1, scale),
        Transformation("rotation", "degrees", DEGREES, 0, rotate),
    )
