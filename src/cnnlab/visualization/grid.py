"""Values scaled to gray levels, and pictures tiled into one: functions of batches."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.numerics import check_finite

GRAY = 0.5
DRAWN = "the values to draw are"
"""Subject and verb of the message about a value that is not finite."""


def signed_to_gray(values: Tensor) -> Tensor:
    """Scale each picture [N,...] by its own largest magnitude to 0..1, zero to 0.5.

    A picture of zeros becomes 0.5. Raises NumericsError for a value that is not finite.
    """
    check_finite(values, DRAWN)
    flat = values.flatten(1)
    largest = flat.abs().amax(1).clamp_min(torch.finfo(values.dtype).tiny)
    return (flat / largest[:, None] * 0.5 + GRAY).view_as(values)


def positive_to_gray(values: Tensor) -> Tensor:
    """Scale each picture [N,...] from its own minimum and maximum to 0..1.

    Raises NumericsError for a value that is not finite.
    """
    check_finite(values, DRAWN)
    flat = values.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    return ((flat - low) / span).view_as(values)


def pixels_to_unit(images: Tensor) -> Tensor:
    """Scale pixels from 0..255 to 0..1, float."""
    return images.float().clamp(0, 255) / 255


def tile(
    pictures: Tensor,
    columns: int,
    gap_pixels: int = 1,
    fill: float = 1.0,
    row_gap_pixels: int | None = None,
) -> Tensor:
    """Tile pictures row by row: [N,C,h,w] -> [C,H,W], with `gap_pixels` of `fill` between them.

    row_gap_pixels: between rows; None: gap_pixels.
    """
    num, channels, height, width = pictures.shape
    below = gap_pixels if row_gap_pixels is None else row_gap_pixels
    rows = math.ceil(num / columns)

    spare = pictures.new_full((rows * columns - num, channels, height, width), fill)
    padded = F.pad(torch.cat([pictures, spare]), (0, gap_pixels, 0, below), value=fill)

    cells = padded.unflatten(0, (rows, columns))  # [rows,columns,C,h+below,w+gap]
    sheet = cells.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return sheet[:, : sheet.shape[1] - below, : sheet.shape[2] - gap_pixels]


def shrink(pictures: Tensor, largest_side: int) -> Tensor:
    """Scale pictures [N,C,h,w] down to at most `largest_side` pixels; smaller ones are returned."""
    side = max(pictures.shape[-2:])
    if side <= largest_side:
        return pictures
    size = [max(1, round(one * largest_side / side)) for one in pictures.shape[-2:]]
    small = F.interpolate(pictures.float(), size, mode="bilinear", antialias=True)
    low, high = pictures.aminmax()
    return small.to(pictures.dtype).clamp(low, high)  # rounding can leave 0..1


def to_rgb(pictures: Tensor) -> Tensor:
    """Repeat a single channel three times: [...,1 or 3,H,W] -> [...,3,H,W]."""
    if pictures.shape[-3] == 3:
        return pictures
    return pictures.expand(*pictures.shape[:-3], 3, *pictures.shape[-2:])


def square_columns(num_pictures: int, ratio: float = 1.0) -> int:
    """Return the columns of a sheet of square pictures about `ratio` times as wide as high."""
    return max(1, math.ceil(math.sqrt(num_pictures * ratio)))
