"""Test-time views: the crops of one image whose probabilities are averaged.

Cut from the stored uint8 pixels as slices, a whole batch at once, on the images' device.
"""

import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.config.evaluation import EVALUATIONS
from cnnlab.errors import DataError, UsageError

Corner = tuple[int, int]
"""Row and column of a crop's top left pixel."""


def center_corners(height: int, width: int, size: int) -> list[Corner]:
    """Return the central position; an odd remainder is rounded to even, as in torchvision."""
    return [(round((height - size) / 2), round((width - size) / 2))]


def five_corners(height: int, width: int, size: int) -> list[Corner]:
    """Return top left, top right, bottom left, bottom right, center: torchvision's order."""
    bottom, right = height - size, width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return corners + center_corners(height, width, size)


def grid_corners(height: int, width: int, size: int) -> list[Corner]:
    """Return nine positions, row by row: start, middle and end of each direction.

    Source: the multiview test of the CIFAR-10 nets in Krizhevsky's 2012 code, 24x24 out of 32x32.
    """
    rows = (0, (height - size) // 2, height - size)
    columns = (0, (width - size) // 2, width - size)
    return [(row, column) for row in rows for column in columns]


@dataclass(frozen=True)
class Views:
    """Cuts a fixed number of crops out of each image."""

    name: str
    crop_pixels: int
    padding_pixels: int = 0

    @property
    def num_views(self) -> int:
        """Crops of each image."""
        row = EVALUATIONS[self.name]
        return len(row.load()(1, 1, 1)) * (2 if row.is_mirrored else 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Cut images [N,C,H,W] into crops [N,V,C,s,s] of the same dtype.

        Mirrored views are the crops of the mirrored image, not the mirror images of the crops:
        the two differ by a pixel where the center has an odd remainder.
        Raises DataError for images smaller than the crop, UsageError where all crops coincide.
        Source: Krizhevsky et al. 2012, section 4.1; order as torchvision's FiveCrop and TenCrop.
        """
        if self.padding_pixels:
            images = F.pad(images, (self.padding_pixels,) * 4)

        size, corners = self.crop_pixels, self.corners(*images.shape[-2:])
        pixels = images.permute(0, 2, 3, 1)  # stacked so that crops are channels_last in memory
        sources = [pixels, pixels.flip(2)] if EVALUATIONS[self.name].is_mirrored else [pixels]
        crops = [
            source[:, top : top + size, left : left + size]
            for source in sources
            for top, left in corners
        ]

        stacked = crops[0].unsqueeze(1) if len(crops) == 1 else torch.stack(crops, dim=1)
        return stacked.permute(0, 1, 4, 2, 3)

    def corners(self, height: int, width: int) -> list[Corner]:
        """Return the top left pixels of the crops of images of this size, border included.

        Raises DataError for images smaller than the crop, UsageError where all crops coincide.
        """
        if min(height, width) < self.crop_pixels:
            raise DataError(
                f"the images are {height}x{width} pixels, smaller than the {self.crop_pixels}-pixel"
                " crop the network takes",
                hint="larger images come from dataset.image_size_pixels",
            )

        corners: list[Corner] = EVALUATIONS[self.name].load()(height, width, self.crop_pixels)
        if len(corners) > 1 and len(set(corners)) == 1:
            raise UsageError(
                f"{self.name} would cut the same {self.crop_pixels}-pixel crop {len(corners)} times"
                " out of these images",
                hint="it needs larger images or a border: evaluation.padding_pixels=2",
            )
        return corners


def admitted(
    image_pixels: int, crop_pixels: int, *, padding_pixels: int, mirror_allowed: bool
) -> list[str]:
    """Return the names of the views that fit these images and this network.

    image_pixels: side of the images without the border of `padding_pixels` that all views but the
    central one get. Each is tried: what is named here is not refused afterwards.
    """
    found = []
    for name, row in EVALUATIONS.items():
        if row.is_mirrored and not mirror_allowed:
            continue
        border = 0 if name == "center" else padding_pixels
        with contextlib.suppress(DataError, UsageError):
            build(name, crop_pixels=crop_pixels, image_pixels=image_pixels, padding_pixels=border)
            found.append(name)
    return found


def build(
    name: str,
    *,
    crop_pixels: int,
    image_pixels: int | None = None,
    padding_pixels: int = 0,
    mirror_allowed: bool = True,
    dataset: str = "this set",
) -> Views:
    """Return the function that cuts the views called `name`.

    crop_pixels: side of a crop. image_pixels: side of the images where it is known; the views are
    then tried on it at once. padding_pixels: border of black around the image before cutting; for
    small images the border of training, so that corner crops differ from the center.
    mirror_allowed, dataset: whether mirrored images keep their class, and the name for the message.
    Raises UsageError for an unknown name, for reflections of a set such as digits or signs and
    where all crops coincide, DataError for images smaller than the crop.
    """
    if name not in EVALUATIONS:
        raise UsageError(f"no views called '{name}'", hint=f"available: {', '.join(EVALUATIONS)}")
    if EVALUATIONS[name].is_mirrored and not mirror_allowed:
        raise UsageError(
            f"{name} mirrors images, which changes the classes of {dataset}",
            hint=_unmirrored(crop_pixels, image_pixels, padding_pixels),
        )

    views = Views(name, crop_pixels, padding_pixels)
    if image_pixels is not None:
        side = image_pixels + 2 * padding_pixels
        views.corners(side, side)
    return views


def _unmirrored(crop_pixels: int, image_pixels: int | None, padding_pixels: int) -> str:
    """Return the hint which views to use instead of mirrored ones: only accepted ones."""
    if image_pixels is None:
        return "use views without mirroring"
    names = admitted(image_pixels, crop_pixels, padding_pixels=padding_pixels, mirror_allowed=False)
    if "five_crop" in names:
        return "use evaluation=five_crop: the same five crops, not mirrored"
    return "use evaluation=center, or evaluation=five_crop evaluation.padding_pixels=2"
