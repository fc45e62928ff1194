"""A photographed digit -> a picture like those of MNIST: bright ink on black, 20 of 28 pixels.

MNIST's digits were size-normalized into 20x20 pixels and centered by mass in 28x28
(LeCun et al. 1998, section III-A). How a photograph gets there is our own rule, stated here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab import images as pixels

SIDE_PIXELS = 28
INK_PIXELS = 20
WORKING_PIXELS = 256
"""Longer side of the photograph while the ink is searched."""

NUM_LEVELS = 256
MIN_CONTRAST = 12.0
"""Levels between ink and paper below which a photograph counts as empty."""


def like_mnist(image: Tensor) -> Tensor:
    """Bring a gray photograph uint8 [1,H,W] of one digit to uint8 [1,28,28].

    1. Size: the longer side becomes 256 pixels. 2. Polarity: the border is background; where it is
    brighter than the middle gray of the picture's darkest and brightest, the picture is inverted,
    so that ink is bright. 3. Light: the background, a wide average of the pixels without ink,
    is subtracted. 4. Ink: pixels above Otsu's threshold, their gray levels kept and stretched.
    5. Place: the ink's box is scaled to 20 pixels and centered by mass in 28x28.
    A picture that is 28x28 already is returned as it is; one without ink becomes black.
    """
    if tuple(image.shape[-2:]) == (SIDE_PIXELS, SIDE_PIXELS):
        return image
    gray = _to_working_size(image).float()[0]
    if is_dark_on_bright(gray):
        gray = 255 - gray
    ink = (gray - background(gray)).clamp_min(0)
    if float(ink.max()) < MIN_CONTRAST:
        return image.new_zeros(1, SIDE_PIXELS, SIDE_PIXELS)

    threshold = otsu_threshold(ink)
    strokes = torch.where(ink > threshold, ink, torch.zeros_like(ink))
    return _centered(strokes / strokes.max() * 255)


def is_dark_on_bright(gray: Tensor) -> bool:
    """Return whether the border of a picture [H,W] is brighter than the middle of its range."""
    border = torch.cat([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    smooth = _wide_mean(gray, 1)
    middle = (smooth.min() + smooth.max()) / 2
    return bool(border.median() > middle)


def background(gray: Tensor) -> Tensor:
    """Return the brightness of the paper around each pixel of [H,W]; ink is bright and excluded."""
    radius = max(gray.shape) // 6
    dark = torch.minimum(gray, _wide_mean(gray, radius))
    return _wide_mean(torch.minimum(gray, _wide_mean(dark, radius)), radius)


def otsu_threshold(ink: Tensor) -> float:
    """Return the level that splits [H,W] into two classes with the largest variance between them.

    Source: Otsu 1979, equation 18.
    """
    top = float(ink.max())
    counts = torch.histc(ink, NUM_LEVELS, 0, top).double()
    levels = (torch.arange(NUM_LEVELS).double() + 0.5) * top / NUM_LEVELS
    weight = counts.cumsum(0) / counts.sum()
    mean = (counts * levels).cumsum(0) / counts.sum()
    spread = (mean[-1] * weight - mean) ** 2 / (weight * (1 - weight)).clamp_min(1e-12)
    return (int(spread[:-1].argmax()) + 1) * top / NUM_LEVELS


def _to_working_size(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    scale = WORKING_PIXELS / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return pixels.resize(image[None], size)[0]


def _wide_mean(gray: Tensor, radius: int) -> Tensor:
    """Average the square around each pixel: across, then down, which is the same in fewer sums."""
    padded, width = F.pad(gray[None, None], (radius,) * 4, mode="replicate"), 2 * radius + 1
    across = F.avg_pool2d(padded, (1, width), stride=1)
    return F.avg_pool2d(across, (width, 1), stride=1)[0, 0]


def _centered(strokes: Tensor) -> Tensor:
    """Scale the box of [H,W] to 20 pixels and put its center of mass into the middle of 28x28."""
    rows, columns = (strokes > 0).any(1).nonzero()[:, 0], (strokes > 0).any(0).nonzero()[:, 0]
    box = strokes[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    scale = INK_PIXELS / max(box.shape)
    size = (max(1, round(box.shape[0] * scale)), max(1, round(box.shape[1] * scale)))
    small = pixels.resize(box.round().to(torch.uint8)[None, None], size)[0, 0]

    mass = small.double()
    weights = mass / mass.sum()
    row = float((weights.sum(1) * torch.arange(size[0])).sum())
    column = float((weights.sum(0) * torch.arange(size[1])).sum())

    top = min(max(round((SIDE_PIXELS - 1) / 2 - row), 0), SIDE_PIXELS - size[0])
    left = min(max(round((SIDE_PIXELS - 1) / 2 - column), 0), SIDE_PIXELS - size[1])
    placed = small.new_zeros(1, SIDE_PIXELS, SIDE_PIXELS)
    placed[0, top : top + size[0], left : left + size[1]] = small
    return placed
