"""Augmentations that compute new pixel values: affine distortion, resized crop, color shift."""

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from cnnlab import images as pixels
from cnnlab.data.upload import DeviceCopies
from cnnlab.errors import UsageError

_MAX_ASPECT = 4 / 3


@dataclass(frozen=True)
class Affine:
    """Shift, scale, squeeze and horizontal shear, each uniform in ± its setting.

    shift: as a fraction of the side. Source: LeCun et al. 1998, section III-A names the four; their
    ranges are not published.
    """

    shift: float
    scale: float
    squeeze: float
    shear: float

    def output_size(self, image_size: int) -> int:
        return image_size

    def draw(self, num_images: int, side: int, generator: Generator) -> Tensor:
        """Return float [N,2,3] for `images.affine`.

        The content grows by scale * squeeze horizontally and by scale / squeeze vertically.
        """
        noise = torch.empty(num_images, 5).uniform_(-1, 1, generator=generator)
        scale, squeeze = 1 + self.scale * noise[:, 0], 1 + self.squeeze * noise[:, 1]
        slant, zero = self.shear * noise[:, 2], torch.zeros(num_images)
        across, down = 2 * self.shift * noise[:, 3], 2 * self.shift * noise[:, 4]
        rows = (1 / (scale * squeeze), slant, across, zero, squeeze / scale, down)
        return torch.stack(rows, 1).view(-1, 2, 3)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return pixels.affine(images, parameters)


@dataclass(frozen=True)
class ResizedCrop:
    """A box of random area and aspect ratio, resized to `size`.

    Area uniform in [min_area, 1] of the image, log of the aspect uniform in [-log 4/3, log 4/3];
    a side longer than the image is clamped, where torchvision draws again.
    """

    size: int
    min_area: float

    def output_size(self, image_size: int) -> int:
        return self.size

    def draw(self, num_images: int, side: int, generator: Generator) -> Tensor:
        """Return float [N,4]: top, left, height, width in pixels of images of side `side`."""
        noise = torch.empty(num_images, 4).uniform_(generator=generator)
        area = self.min_area + (1 - self.min_area) * noise[:, 0]
        aspect = torch.exp((2 * noise[:, 1] - 1) * math.log(_MAX_ASPECT))
        width = (area * aspect).sqrt().clamp_max(1) * side
        height = (area / aspect).sqrt().clamp_max(1) * side
        top, left = (side - height) * noise[:, 2], (side - width) * noise[:, 3]
        return torch.stack([top, left, height, width], 1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return pixels.resized_boxes(images, parameters, self.size)


@dataclass(frozen=True, eq=False)
class ColorShift:
    """One color offset per image, along the principal components of the training pixels.

    directions: float [C,C] in levels; column i is component i times its standard deviation, or
    what replaces it (`color_directions`). Each is multiplied by a normal number with standard
    deviation `strength`. Acts on levels before the mean is subtracted, which gives the same as
    after. mean: [C,H,W] or None; with one, each pixel's distance from the center of the mean is
    divided by 1 + strength, so that training and test images keep one scale.
    Source: Krizhevsky et al. 2012, section 4.1, and the released convdata_jpeg.py, which multiplies
    standard deviations where the paper prints eigenvalues, and divides, which the paper omits.
    """

    directions: Tensor
    strength: float
    mean: Tensor | None = None
    _copies: DeviceCopies = field(default_factory=DeviceCopies)

    def output_size(self, image_size: int) -> int:
        return image_size

    def draw(self, num_images: int, side: int, generator: Generator) -> Tensor:
        """Return float [N,C] levels."""
        channels = len(self.directions)
        factors = torch.empty(num_images, channels).normal_(generator=generator)
        return self.strength * factors @ self.directions.T

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Raise UsageError for images with another number of channels than the directions."""
        if images.shape[1] != len(self.directions):
            raise UsageError(
                f"color shifts of {len(self.directions)} channels on {images.shape[1]} channels"
            )
        shifted = pixels.shift_colors(images, parameters)
        if self.mean is None:
            return shifted
        mean = self._copies.of(self.mean, images.device)
        mean = pixels.center_crop(mean, images.shape[-1])
        return mean + (shifted - mean) / (1 + self.strength)


def color_directions(values: Tensor, vectors: Tensor, scale: str) -> Tensor:
    """Return float [C,C] for ColorShift from eigenvalues and eigenvectors of pixels in levels.

    stdev: the square roots of the eigenvalues, whatever the scale of the pixels. eigenvalue: the
    eigenvalues of pixels in [0,1], as ports have it; in levels that is value / 255.
    """
    sizes = values.sqrt() if scale == "stdev" else values / 255
    return (vectors * sizes).float()
