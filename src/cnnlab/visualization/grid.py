"""Pictures side by side in one picture, and numbers made visible: batch functions of tensors."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.numerics import check_finite

GREY = 0.5
SHOWN = "what the network makes of the images is"


def signed_to_grey(values: Tensor) -> Tensor:
    """Scale each picture [N,...] by its own largest magnitude, so that zero becomes middle grey.

    0..1; a picture of zeros is gray all over. Raises NumericsError for a value that is not finite.
    """
    check_finite(values, SHOWN)
    flat = values.flatten(1)
    largest = flat.abs().amax(1).clamp_min(torch.finfo(values.dtype).tiny)
    return (flat / largest[:, None] * 0.5 + GREY).view_as(values)


def positive_to_grey(values: Tensor) -> Tensor:
    """Stretch each picture [N,...] to 0..1 between its own smallest and largest value.

    Raises NumericsError for a value that is not finite.
    """
    check_finite(values, SHOWN)
    flat = values.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    return ((flat - low) / span).view_as(values)


def pixels_to_unit(images: Tensor) -> Tensor:
    """Turn uint8 or 0..255 pixels into 0..1."""
    return images.float().clamp(0, 255) / 255


def tile(
    pictures: Tensor,
    columns: int,
    gap_pixels: int = 1,
    fill: float = 1.0,
    row_gap_pixels: int | None = None,
) -> Tensor:
    """Lay pictures [N,C,h,w] out row by row: [C,H,W], `gap_pixels` of `fill` between them.

    row_gap_pixels: between rows, where that is to be more.
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
    """Make pictures [N,C,h,w] at most `largest_side` pixels high and wide; smaller ones stay."""
    side = max(pictures.shape[-2:])
    if side <= largest_side:
        return pictures
    size = [max(1, round(one * largest_side / side)) for one in pictures.shape[-2:]]
    small = F.interpolate(pictures.float(), size, mode="bilinear", antialias=True)
    low, high = pictures.aminmax()
    return small.to(pictures.dtype).clamp(low, high)  # the weights' sum can be 1 and a bit


def to_rgb(pictures: Tensor) -> Tensor:
    """Repeat a single channel three times: [...,1 or 3,H,W] -> [...,3,H,W]."""
    return (
        pictures
        if pictures.shape[-3] == 3
        else pictures.expand(*pictures.shape[:-3], 3, *pictures.shape[-2:])
    )


def square_columns(num_pictures: int, ratio: float = 1.0) -> int:
    """Return the columns of a sheet of equal pictures about `ratio` times as wide as high."""
    return max(1, math.ceil(math.sqrt(num_pictures * ratio)))
