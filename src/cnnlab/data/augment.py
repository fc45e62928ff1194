"""Augmentation: parameters drawn on the CPU for the whole batch, then applied on the device.

A generator that depends on nothing but the step gives the same pictures on every device. Uniform
numbers below p decide, not bernoulli: its CPU sequence differs between processor makers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from cnnlab import images as pixels
from cnnlab.config.data import (
    AffineConfig,
    AlexnetAugmentConfig,
    AugmentConfig,
    CropConfig,
    CropMirrorConfig,
    ResizedCropConfig,
)
from cnnlab.data.distortions import Affine, ColourShift, ResizedCrop, colour_directions
from cnnlab.data.moments import principal_components
from cnnlab.data.rows import num_drawn, own_rows
from cnnlab.data.store import StoredStatistics
from cnnlab.distributed.share import Part
from cnnlab.errors import UsageError


class Augmentation(Protocol):
    """[N,C,S,S] -> [N,C,s,s], random by `generator` alone.

    part: which rows of a batch shared by several processes the images are; parameters are drawn
    for the whole batch and cut, so that an image looks the same whoever computes it.
    """

    def output_size(self, image_size: int) -> int:
        """Return s for images of side S. Raises UsageError when they are too small."""
        ...

    def __call__(
        self, images: Tensor, generator: Generator, part: Part | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Chain:
    """One augmentation after another; an empty chain changes nothing."""

    parts: tuple[Augmentation, ...] = ()

    def output_size(self, image_size: int) -> int:
        for part in self.parts:
            image_size = part.output_size(image_size)
        return image_size

    def __call__(self, images: Tensor, generator: Generator, part: Part | None = None) -> Tensor:
        for augmentation in self.parts:
            images = augmentation(images, generator, part)
        return images


UNCHANGED = Chain()


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of `size` pixels (null: the image's side) anywhere in image plus border.

    images_per_draw neighbours share a window. mirrors: reflect half of the windows, as Mirror
    behind it would, in one copy. mean: [C,S,S] or None; normalization subtracts the centre of a
    mean image, so with one the difference to its part under the window is taken off here, and in
    the end what was subtracted is the mean where the crop lay.
    """

    padding: int
    size: int | None
    images_per_draw: int = 1
    mirrors: bool = False
    mean: Tensor | None = None

    def output_size(self, image_size: int) -> int:
        room = image_size + 2 * self.padding
        if self.size is not None and self.size > room:
            raise UsageError(
                f"augment.crop_pixels={self.size} does not fit in images of {room} pixels",
                f"dataset.image_size_pixels={image_size}, augment.padding_pixels={self.padding}",
            )
        return self.size or image_size

    def __call__(self, images: Tensor, generator: Generator, part: Part | None = None) -> Tensor:
        size = self.output_size(images.shape[-1])
        room = images.shape[-1] + 2 * self.padding - size
        num_images = num_drawn(images, part)
        corners = draw_corners(-(-num_images // self.images_per_draw), room, generator)
        corners = corners.repeat_interleave(self.images_per_draw, 0)[:num_images]
        corners = own_rows(corners, images, part)
        padded, mirror = pixels.pad(images, self.padding), Mirror(self.images_per_draw)
        if self.mean is None:
            flags = mirror.draw(images, generator, part) if self.mirrors else None
            return pixels.crop(padded, corners, size, flags)
        crops = pixels.crop(padded, corners, size)
        mean = pixels.pad(self.mean.to(images.device), self.padding)
        under = pixels.crop(mean.expand(len(images), -1, -1, -1), corners, size)
        crops = crops - under + pixels.center_crop(mean, size)
        return mirror(crops, generator, part) if self.mirrors else crops


@dataclass(frozen=True)
class Mirror:
    """Left-right reflection of half of the images."""

    images_per_draw: int = 1

    def output_size(self, image_size: int) -> int:
        return image_size

    def __call__(self, images: Tensor, generator: Generator, part: Part | None = None) -> Tensor:
        return pixels.mirror(images, self.draw(images, generator, part))

    def draw(self, images: Tensor, generator: Generator, part: Part | None) -> Tensor:
        """Return bool [N]: which of the images are reflected."""
        num_images = num_drawn(images, part)
        flags = draw_flags(-(-num_images // self.images_per_draw), generator)
        flags = flags.repeat_interleave(self.images_per_draw)[:num_images]
        return own_rows(flags, images, part)


def draw_corners(num_images: int, room: int, generator: Generator) -> Tensor:
    """Return int64 [N,2] in 0..room, both ends included: 224 out of 256 has 33x33 places.

    Source: the released convdata_jpeg.py of 2012, which draws from 2*border + 1 offsets.
    """
    return torch.randint(0, room + 1, (num_images, 2), generator=generator)


def draw_flags(num_images: int, generator: Generator, probability: float = 0.5) -> Tensor:
    """Return bool [N], set with `probability`."""
    return torch.empty(num_images).uniform_(generator=generator) < probability


Statistics = Callable[[], StoredStatistics]
"""Gives the statistics of the training pixels, in levels; called only if they are needed."""


def build_augment(
    config: AugmentConfig, *, mirror_allowed: bool, statistics: Statistics | None = None
) -> Augmentation:
    """Make the augmentation that `config.name` names.

    mirror_allowed: whether the set's labels survive reflection. Raises UsageError when they do not
    and the config mirrors without force_mirror.
    """
    forced = getattr(config, "force_mirror", True)
    if not (mirror_allowed or forced):
        raise UsageError(
            f"augment={config.name} mirrors images, and a reflected digit or sign is another one",
            hint="augment=crop or affine, or augment.force_mirror=true if you mean it",
        )
    return AUGMENTATIONS[config.name](config, statistics)


def _build_crop(config: CropConfig, _: Statistics | None) -> Augmentation:
    if config.padding_pixels == 0 and config.crop_pixels is None:
        raise UsageError(
            f"augment={config.name} has no effect",
            "augment.padding_pixels is 0 and augment.crop_pixels is null",
            "set one of them, or augment=none",
        )
    return Chain((Crop(config.padding_pixels, config.crop_pixels),))


def _build_crop_mirror(config: CropMirrorConfig, _: Statistics | None) -> Augmentation:
    return Chain((Crop(config.padding_pixels, config.crop_pixels, mirrors=True),))


def _build_affine(config: AffineConfig, _: Statistics | None) -> Augmentation:
    largest = (
        config.shift_fraction,
        config.scale_fraction,
        config.squeeze_fraction,
        config.shear,
    )
    if not any(largest):
        raise UsageError("augment=affine has no effect", "all its fractions are 0", "augment=none")
    return Chain((Affine(*largest),))


def _build_alexnet(config: AlexnetAugmentConfig, statistics: Statistics | None) -> Augmentation:
    cropped = config.mean_position == "cropped"
    if config.color_scale == "none" and not cropped:
        found = None
    else:
        assert statistics is not None, "who builds colour shifts must know the set's colours"
        found = statistics()
    mean = None if found is None else found.mean_image.float().permute(2, 0, 1)
    together = config.images_per_draw
    crop = Crop(0, config.crop_pixels, together, mirrors=True, mean=mean if cropped else None)
    parts: tuple[Augmentation, ...] = (crop,)
    if found is not None and config.color_scale != "none":
        values, vectors = principal_components(found.covariance)
        directions = colour_directions(values, vectors, config.color_scale)
        divided_from = mean if config.color_divides else None
        parts += (ColourShift(directions, config.color_strength, divided_from),)
    return Chain(parts)


def _build_resized_crop(config: ResizedCropConfig, _: Statistics | None) -> Augmentation:
    return Chain((ResizedCrop(config.crop_pixels, config.min_area_fraction), Mirror()))


AUGMENTATIONS: dict[str, Callable[[Any, Statistics | None], Augmentation]] = {
    "none": lambda config, statistics: UNCHANGED,
    "crop": _build_crop,
    "crop_mirror": _build_crop_mirror,
    "affine": _build_affine,
    "alexnet": _build_alexnet,
    "resized_crop": _build_resized_crop,
}
