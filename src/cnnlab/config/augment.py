"""Settings of the augmentations, and the table of them."""

from dataclasses import dataclass, replace

from cnnlab.config.bounds import MANY, MOST_FLOAT32, MOST_PIXELS
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table


@dataclass(kw_only=True)
class AugmentConfig:
    """No augmentation: the same images in every epoch."""

    name: str = setting("name of the augmentation")

    @property
    def later(self) -> "tuple[int, AugmentConfig] | None":
        """Return the epochs after which another augmentation follows, and that; None: none does."""
        return None


@dataclass(kw_only=True)
class CropConfig(AugmentConfig):
    """Random crops, of the image itself or of the image with a border around it."""

    padding_pixels: int = setting(
        "black border added before cropping", at_least=0, at_most=MOST_PIXELS
    )
    crop_pixels: int | None = setting(
        "side of the crop; null: the side of the image", at_least=1, at_most=MOST_PIXELS
    )


@dataclass(kw_only=True)
class CropMirrorConfig(CropConfig):
    """Random crops and horizontal reflection with probability one half."""

    force_mirror: bool = setting("mirror even if that changes the class (digits, signs)")


@dataclass(kw_only=True)
class AffineConfig(AugmentConfig):
    """The planar affine distortions of LeNet-5 (1998): shift, scale, squeeze, horizontal shear."""

    shift_fraction: float = setting("maximum shift, as a fraction of the side", at_least=0, below=1)
    scale_fraction: float = setting("maximum relative change of size", at_least=0, below=1)
    squeeze_fraction: float = setting(
        "maximum relative stretch of the width; the height shrinks by the same factor",
        at_least=0,
        below=1,
    )
    shear: float = setting(
        "maximum horizontal shear, as a fraction of the height", at_least=0, below=1
    )


@dataclass(kw_only=True)
class AlexnetAugmentConfig(AugmentConfig):
    """Random crops, reflection and color shifts along the principal components (2012)."""

    crop_pixels: int = setting("side of the crop", at_least=1, at_most=MOST_PIXELS)
    force_mirror: bool = setting("mirror even if that changes the class (digits, signs)")
    color_scale: str = setting(
        "color shift per component: strength times its standard deviation, or times its eigenvalue",
        choices=("stdev", "eigenvalue", "none"),
    )
    color_strength: float = setting(
        "standard deviation of the random factors", at_least=0, at_most=MOST_FLOAT32
    )
    color_divides: bool = setting("divide by 1 + strength afterwards, as the 2012 code does")
    color_epochs: int | None = setting(
        "epochs after which colors are left alone, undivided too; null: never",
        at_least=1,
        at_most=MANY,
        earlier=None,
    )
    mean_position: str = setting(
        "part of the mean image to subtract: its center (2012 code), or the position of the crop",
        choices=("central", "cropped"),
    )
    images_per_draw: int = setting(
        "consecutive images with the same crop and mirroring; 32 in the 2012 code",
        at_least=1,
        at_most=MANY,
    )

    @property
    def later(self) -> tuple[int, AugmentConfig] | None:
        """Return `color_epochs` and the same crops and reflections without color shifts."""
        if self.color_epochs is None:
            return None
        plain = replace(self, color_scale="none", color_divides=False, color_epochs=None)
        return self.color_epochs, plain


@dataclass(kw_only=True)
class ResizedCropConfig(AugmentConfig):
    """A crop of random area and aspect ratio, resized; later than 2012."""

    crop_pixels: int = setting("side of the output", at_least=1, at_most=MOST_PIXELS)
    min_area_fraction: float = setting(
        "smallest area of a crop, as a fraction of the image", above=0, at_most=1
    )
    force_mirror: bool = setting("mirror even if that changes the class (digits, signs)")


AUGMENTS = Table(
    "augment",
    AugmentConfig,
    {
        "none": Choice(AugmentConfig, "cnnlab.data.augment:build_none"),
        "crop": Choice(CropConfig, "cnnlab.data.augment:build_crop"),
        "crop_mirror": Choice(CropMirrorConfig, "cnnlab.data.augment:build_crop_mirror"),
        "affine": Choice(AffineConfig, "cnnlab.data.augment:build_affine"),
        "alexnet": Choice(AlexnetAugmentConfig, "cnnlab.data.augment:build_alexnet"),
        "resized_crop": Choice(ResizedCropConfig, "cnnlab.data.augment:build_resized_crop"),
    },
)
"""Builders: (settings, statistics of the training pixels if there are any) -> Augmentation."""
