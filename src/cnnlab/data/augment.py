"""Random augmentation in two steps: draw parameters on the CPU, then apply them to images.

Parameters are drawn for the whole global batch by a generator that depends on the step alone, so
an image looks the same on every device, in every process and however a batch is cut into chunks.
Flags are uniform numbers below p, not bernoulli: its CPU sequence differs between processor makers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from cnnlab import images as pixels
from cnnlab.config.augment import (
    AUGMENTS,
    AffineConfig,
    AlexnetAugmentConfig,
    AugmentConfig,
    CropConfig,
    CropMirrorConfig,
    ResizedCropConfig,
)
from cnnlab.data.distortions import Affine, ColorShift, ResizedCrop, color_directions
from cnnlab.data.moments import principal_components
from cnnlab.data.store import StoredStatistics
from cnnlab.data.upload import DeviceCopies
from cnnlab.errors import UsageError


class Augmentation(Protocol):
    """[N,C,S,S] -> [N,C,s,s]: `draw` takes all randomness, `apply` is a pure function.

    Parameters are a CPU tensor with one row per image, or a tuple of parameters; `rows_of` selects
    those of some images. What is drawn may be copied to a GPU many steps before it is applied.
    """

    def output_size(self, image_size: int) -> int:
        """Return s for images of side S. Raises UsageError when they are too small."""
        ...

    def draw(self, num_images: int, side: int, generator: Generator) -> Any:
        """Return the parameters of `num_images` images of side S: a whole global batch."""
        ...

    def apply(self, images: Tensor, parameters: Any) -> Tensor:
        """Return the augmented images, on their device, on which the parameters are too."""
        ...


def rows_of(parameters: Any, rows: slice) -> Any:
    """Return the parameters of images `rows` of those that they were drawn for."""
    if parameters is None:
        return None
    if isinstance(parameters, tuple):
        return tuple(rows_of(each, rows) for each in parameters)
    return parameters[rows]


@dataclass(frozen=True)
class Chain:
    """One augmentation after another; an empty chain changes nothing."""

    parts: tuple[Augmentation, ...] = ()

    def output_size(self, image_size: int) -> int:
        for part in self.parts:
            image_size = part.output_size(image_size)
        return image_size

    def draw(self, num_images: int, side: int, generator: Generator) -> tuple[Any, ...]:
        drawn = []
        for part in self.parts:
            drawn.append(part.draw(num_images, side, generator))
            side = part.output_size(side)
        return tuple(drawn)

    def apply(self, images: Tensor, parameters: tuple[Any, ...]) -> Tensor:
        for part, drawn in zip(self.parts, parameters, strict=True):
            images = part.apply(images, drawn)
        return images


UNCHANGED = Chain()


@dataclass(frozen=True, eq=False)
class Crop:
    """A random window of `size` pixels (None: the image's side) out of the image and its padding.

    images_per_draw: this many consecutive images share a window. mirrors: also reflect half of the
    windows, in the same copy. mean: [C,S,S] or None. Normalization subtracts the center of a mean
    image; with `mean`, the mean's difference between window and center is subtracted here, so that
    the total is the mean under the window.
    """

    padding: int
    size: int | None
    images_per_draw: int = 1
    mirrors: bool = False
    mean: Tensor | None = None
    _copies: DeviceCopies = field(default_factory=DeviceCopies)

    def output_size(self, image_size: int) -> int:
        room = image_size + 2 * self.padding
        if self.size is not None and self.size > room:
            raise UsageError(
                f"augment.crop_pixels={self.size} does not fit in images of {room} pixels",
                f"dataset.image_size_pixels={image_size}, augment.padding_pixels={self.padding}",
            )
        return self.size or image_size

    def draw(
        self, num_images: int, side: int, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return the corners, int64 [N,2], and which windows to reflect, bool [N] or None."""
        room = side + 2 * self.padding - self.output_size(side)
        corners = draw_corners(-(-num_images // self.images_per_draw), room, generator)
        corners = corners.repeat_interleave(self.images_per_draw, 0)[:num_images]
        if not self.mirrors:
            return corners, None
        return corners, Mirror(self.images_per_draw).draw(num_images, side, generator)

    def apply(self, images: Tensor, parameters: tuple[Tensor, Tensor | None]) -> Tensor:
        corners, flags = parameters
        size, padded = self.output_size(images.shape[-1]), pixels.pad(images, self.padding)
        if self.mean is None:
            return pixels.crop(padded, corners, size, flags)

        crops = pixels.crop(padded, corners, size)
        mean = pixels.pad(self._copies.of(self.mean, images.device), self.padding)
        under = pixels.crop(mean.expand(len(images), -1, -1, -1), corners, size)
        crops = crops - under + pixels.center_crop(mean, size)
        return crops if flags is None else pixels.mirror(crops, flags)


@dataclass(frozen=True)
class Mirror:
    """Left-right reflection of half of the images; `images_per_draw` consecutive ones alike."""

    images_per_draw: int = 1

    def output_size(self, image_size: int) -> int:
        return image_size

    def draw(self, num_images: int, side: int, generator: Generator) -> Tensor:
        """Return bool [N]: which of the images are reflected."""
        flags = draw_flags(-(-num_images // self.images_per_draw), generator)
        return flags.repeat_interleave(self.images_per_draw)[:num_images]

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return pixels.mirror(images, parameters)


def draw_corners(num_images: int, room: int, generator: Generator) -> Tensor:
    """Return (top, left), int64 [N,2], in 0..room inclusive: 224 out of 256 has 33x33 places.

    Source: the released convdata_jpeg.py of 2012, which draws from 2*border + 1 offsets.
    """
    return torch.randint(0, room + 1, (num_images, 2), generator=generator)


def draw_flags(num_images: int, generator: Generator, probability: float = 0.5) -> Tensor:
    """Return bool [N], set with `probability`."""
    return torch.empty(num_images).uniform_(generator=generator) < probability


Statistics = Callable[[], StoredStatistics]
"""Return the statistics of the training pixels, in levels; called only if they are needed."""


def build_augment(
    config: AugmentConfig, *, mirror_allowed: bool, statistics: Statistics | None = None
) -> Augmentation:
    """Build the augmentation `config.name`.

    mirror_allowed: whether a reflected image keeps its label. Raises UsageError where it does not
    and the config mirrors without force_mirror.
    """
    forced = getattr(config, "force_mirror", True)
    if not (mirror_allowed or forced):
        raise UsageError(
            f"augment={config.name} mirrors images, which changes the class of digits and signs",
            hint="augment=crop or affine, or augment.force_mirror=true to mirror anyway",
        )
    augmentation: Augmentation = AUGMENTS[config.name].load()(config, statistics)
    return augmentation


def build_none(_: AugmentConfig, __: Statistics | None) -> Augmentation:
    return UNCHANGED


def build_crop(config: CropConfig, _: Statistics | None) -> Augmentation:
    if config.padding_pixels == 0 and config.crop_pixels is None:
        raise UsageError(
            f"augment={config.name} has no effect",
            "augment.padding_pixels is 0 and augment.crop_pixels is null",
            "set one of them, or augment=none",
        )
    return Chain((Crop(config.padding_pixels, config.crop_pixels),))


def build_crop_mirror(config: CropMirrorConfig, _: Statistics | None) -> Augmentation:
    return Chain((Crop(config.padding_pixels, config.crop_pixels, mirrors=True),))


def build_affine(config: AffineConfig, _: Statistics | None) -> Augmentation:
    largest = (
        config.shift_fraction,
        config.scale_fraction,
        config.squeeze_fraction,
        config.shear,
    )
    if not any(largest):
        raise UsageError("augment=affine has no effect", "all its fractions are 0", "augment=none")
    return Chain((Affine(*largest),))


def build_alexnet(config: AlexnetAugmentConfig, statistics: Statistics | None) -> Augmentation:
    cropped = config.mean_position == "cropped"
    if config.color_scale == "none" and not cropped:
        found = None
    else:
        assert statistics is not None, "color shifts need the training set's statistics"
        found = statistics()

    mean = None if found is None else found.mean_image.float().permute(2, 0, 1)
    crop = Crop(
        padding=0,
        size=config.crop_pixels,
        images_per_draw=config.images_per_draw,
        mirrors=True,
        mean=mean if cropped else None,
    )
    parts: tuple[Augmentation, ...] = (crop,)

    if found is not None and config.color_scale != "none":
        values, vectors = principal_components(found.covariance)
        directions = color_directions(values, vectors, config.color_scale)
        divided_from = mean if config.color_divides else None
        parts += (ColorShift(directions, config.color_strength, divided_from),)
    return Chain(parts)


def build_resized_crop(config: ResizedCropConfig, _: Statistics | None) -> Augmentation:
    return Chain((ResizedCrop(config.crop_pixels, config.min_area_fraction), Mirror()))
