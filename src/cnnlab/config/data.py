"""Settings of the data sets and of augmentation, a dataclass a name."""

from dataclasses import dataclass

from cnnlab.config.schema import setting


@dataclass(kw_only=True)
class DatasetConfig:
    """A labelled image set, its split and how its images reach the network's size."""

    name: str = setting("name in the table of data sets")
    image_size_pixels: int = setting("side of the images that augmentation sees", at_least=1)
    pad_pixels: int = setting("of them, how many are a border of background", at_least=0)
    num_validation: int = setting(
        "training images held out for choosing; never test images", at_least=0
    )
    split_seed: int = setting("seed of that split, apart from `seed`", at_least=0)
    channels: int | None = setting("planes the network sees, 1 or 3; null: as stored", at_least=1)
    normalize: str = setting(
        "channel: mean and deviation a channel; pixel: the mean image of 2012, no division; "
        "lenet5_1998: background -0.1, ink 1.175; checkpoint: as model.weights saw its images",
        choices=("channel", "pixel", "lenet5_1998", "checkpoint"),
    )
    permutation_seed: int | None = setting(
        "shuffle the pixels of every image in one fixed way; null: leave them", at_least=0
    )
    residency: str = setting(
        "where the pixels stay while training", choices=("auto", "device", "host", "mapped")
    )


@dataclass(kw_only=True)
class FilesConfig(DatasetConfig):
    """A set read from files that its owner keeps, or from a Store prepared from them."""

    root: str | None = setting("folder that holds the files, or a prepared Store of the set")


@dataclass(kw_only=True)
class DownloadConfig(FilesConfig):
    """A set whose public home hands it out without an account."""

    download: bool = setting("fetch missing files from the set's public home into root")


@dataclass(kw_only=True)
class DecodedConfig(FilesConfig):
    """A set whose images may have to be decoded whenever they are read."""

    num_decode_threads: int | None = setting("that decode; null: all cores", at_least=1)


@dataclass(kw_only=True)
class EncodedConfig(DecodedConfig):
    """A set of image files, decoded when they are read unless they were prepared."""

    on_bad: str = setting(
        "files that hold no image; fail: end and name them all; skip: leave them out, recorded",
        choices=("fail", "skip"),
        earlier="fail",
    )


@dataclass(kw_only=True)
class FolderConfig(EncodedConfig):
    """Your own images: a folder a class."""

    num_test: int = setting("held out for testing where there is no folder test/", at_least=0)
    mirror_allowed: bool = setting("whether a reflected image keeps its class")


@dataclass(kw_only=True)
class SyntheticConfig(DatasetConfig):
    """Made-up images that can be learned; nothing is read."""

    num_train: int = setting("training images, validation included", at_least=1)
    num_test: int = setting("test images", at_least=1)
    num_classes: int = setting("classes", at_least=2)
    noise_levels: float = setting("deviation of the noise, of 255", at_least=0)


DATASETS: dict[str, type[DatasetConfig]] = {
    "mnist5k": DatasetConfig,
    "mnist": DownloadConfig,
    "fashion_mnist": DownloadConfig,
    "cifar10": DownloadConfig,
    "cifar100": DownloadConfig,
    "gtsrb": EncodedConfig,
    "imagenet": EncodedConfig,
    "imagenet_2010": EncodedConfig,
    "folder": FolderConfig,
    "store": DecodedConfig,
    "synthetic": SyntheticConfig,
}


@dataclass(kw_only=True)
class AugmentConfig:
    """No augmentation: every epoch sees the same pictures."""

    name: str = setting("name in the table of augmentations")


@dataclass(kw_only=True)
class CropConfig(AugmentConfig):
    """Random crops, of the image itself or of the image with a border around it."""

    padding_pixels: int = setting("black border added before cropping", at_least=0)
    crop_pixels: int | None = setting("side of the crop; null keeps the image's side", at_least=1)


@dataclass(kw_only=True)
class CropMirrorConfig(CropConfig):
    """Random crops and horizontal reflection with probability one half."""

    force_mirror: bool = setting("mirror although the set's classes are not symmetric")


@dataclass(kw_only=True)
class AffineConfig(AugmentConfig):
    """The planar affine distortions of LeNet-5 (1998): shift, scale, squeeze, horizontal shear."""

    shift_fraction: float = setting("largest shift, of the side", at_least=0, below=1)
    scale_fraction: float = setting("largest change of size", at_least=0, below=1)
    squeeze_fraction: float = setting("largest widening that flattens as much", at_least=0, below=1)
    shear: float = setting("largest sideways slant, of the height", at_least=0, below=1)


@dataclass(kw_only=True)
class AlexnetAugmentConfig(AugmentConfig):
    """Random crops, reflection and colour shifts along the set's principal components (2012)."""

    crop_pixels: int = setting("side of the crop", at_least=1)
    force_mirror: bool = setting("mirror although the set's classes are not symmetric")
    color_scale: str = setting(
        "a component's shift is strength times its deviation, or its eigenvalue at [0,1]",
        choices=("stdev", "eigenvalue", "none"),
    )
    color_strength: float = setting("deviation of the drawn factors", at_least=0)
    color_divides: bool = setting("divide by 1 + strength afterwards, as the 2012 source does")
    mean_position: str = setting(
        "the mean image's part under a crop: its centre, as the 2012 source, or where the crop is",
        choices=("central", "cropped"),
    )
    images_per_draw: int = setting(
        "neighbours in a batch that share crop and reflection; the 2012 source: 32", at_least=1
    )


@dataclass(kw_only=True)
class ResizedCropConfig(AugmentConfig):
    """A crop of random area and shape, resized: what came after 2012."""

    crop_pixels: int = setting("side of the result", at_least=1)
    min_area_fraction: float = setting("smallest crop, of the image", above=0, at_most=1)
    force_mirror: bool = setting("mirror although the set's classes are not symmetric")


AUGMENTS: dict[str, type[AugmentConfig]] = {
    "none": AugmentConfig,
    "crop": CropConfig,
    "crop_mirror": CropMirrorConfig,
    "affine": AffineConfig,
    "alexnet": AlexnetAugmentConfig,
    "resized_crop": ResizedCropConfig,
}
