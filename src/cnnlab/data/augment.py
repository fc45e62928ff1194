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
from cnnlab.config.data import AugmentConfig, CropConfig, CropMirrorConfig
from cnnlab.errors import UsageError


class Augmentation(Protocol):
    """[N,C,S,S] -> [N,C,s,s], random by `generator` alone."""

    def output_size(self, image_size: int) -> int:
        """Return s for images of side S. Raises UsageError when they are too small."""
        ...

    def __call__(self, images: Tensor, generator: Generator) -> Tensor: ...


@dataclass(frozen=True)
class Chain:
    """One augmentation after another; an empty chain changes nothing."""

    parts: tuple[Augmentation, ...] = ()

    def output_size(self, image_size: int) -> int:
        for part in self.parts:
            image_size = part.output_size(image_size)
        return image_size

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        for part in self.parts:
            images = part(images, generator)
        return images


@dataclass(frozen=True)
class Crop:
    """A window of `size` pixels (null: the image's side) anywhere in image plus border."""

    padding: int
    size: int | None

    def output_size(self, image_size: int) -> int:
        room = image_size + 2 * self.padding
        if self.size is not None and self.size > room:
            raise UsageError(
                f"augment.crop_pixels={self.size} does not fit in images of {room} pixels",
                f"dataset.image_size_pixels={image_size}, augment.padding_pixels={self.padding}",
            )
        return self.size or image_size

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        size = self.output_size(images.shape[-1])
        room = images.shape[-1] + 2 * self.padding - size
        corners = draw_corners(len(images), room, generator).to(images.device)
        return pixels.crop(pixels.pad(images, self.padding), corners, size)


@dataclass(frozen=True)
class Mirror:
    """Left-right reflection of half of the images."""

    def output_size(self, image_size: int) -> int:
        return image_size

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        return pixels.mirror(images, draw_flags(len(images), generator).to(images.device))


def draw_corners(num_images: int, room: int, generator: Generator) -> Tensor:
    """Return int64 [N,2] in 0..room, both ends included: 224 out of 256 has 33x33 places.

    Source: the released convdata_jpeg.py of 2012, which draws from 2*border + 1 offsets.
    """
    return torch.randint(0, room + 1, (num_images, 2), generator=generator)


def draw_flags(num_images: int, generator: Generator, probability: float = 0.5) -> Tensor:
    """Return bool [N], set with `probability`."""
    return torch.empty(num_images).uniform_(generator=generator) < probability


def build_augment(config: AugmentConfig, *, mirror_allowed: bool) -> Augmentation:
    """Make the augmentation that `config.name` names.

    mirror_allowed: whether the set's labels survive reflection. Raises UsageError when they do not
    and the config mirrors without force_mirror.
    """
    return AUGMENTATIONS[config.name](config, mirror_allowed)


def _build_crop(config: Any, mirror_allowed: bool) -> Augmentation:
    assert isinstance(config, CropConfig)
    if config.padding_pixels == 0 and config.crop_pixels is None:
        raise UsageError(
            f"augment={config.name} has no effect",
            "augment.padding_pixels is 0 and augment.crop_pixels is null",
            "set one of them, or augment=none",
        )
    return Chain((Crop(config.padding_pixels, config.crop_pixels),))


def _build_crop_mirror(config: Any, mirror_allowed: bool) -> Augmentation:
    assert isinstance(config, CropMirrorConfig)
    if not (mirror_allowed or config.force_mirror):
        raise UsageError(
            f"augment={config.name} mirrors images, and a reflected digit or sign is another one",
            hint="augment=crop, or augment.force_mirror=true if you mean it",
        )
    return Chain((Crop(config.padding_pixels, config.crop_pixels), Mirror()))


AUGMENTATIONS: dict[str, Callable[[Any, bool], Augmentation]] = {
    "none": lambda config, mirror_allowed: Chain(),
    "crop": _build_crop,
    "crop_mirror": _build_crop_mirror,
}
