"""Settings of the data sets, and the table of them."""

from dataclasses import dataclass, replace
from typing import Any

from cnnlab.config.bounds import MANY, MOST_PIXELS, MOST_SEED, MOST_THREADS
from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table
from cnnlab.errors import UsageError


@dataclass(kw_only=True)
class DatasetConfig:
    """A labeled image set, its split, and how its images reach the input size of the network."""

    name: str = setting("name of the data set")
    image_size_pixels: int = setting(
        "image side before augmentation, border included", at_least=1, at_most=MOST_PIXELS
    )
    pad_pixels: int = setting(
        "border of background on each side, part of image_size_pixels",
        at_least=0,
        at_most=MOST_PIXELS,
    )
    num_validation: int = setting(
        "training images held out for validation", at_least=0, at_most=MANY
    )
    split_seed: int = setting(
        "seed of the validation split, independent of `seed`", at_least=0, at_most=MOST_SEED
    )
    train_subset: int | None = setting(
        "training images to use after validation is held out, in proportion to the classes; "
        "smaller subsets are part of larger ones; null: all",
        at_least=1,
        at_most=MANY,
        earlier=None,
    )
    channels: int | None = setting(
        "input channels of the network, 1 or 3; null: as stored",
        at_least=1,
        at_most=3,
    )
    normalize: str = setting(
        "channel: per-channel mean and standard deviation; pixel: only subtract the mean image; "
        "lenet5_1998: background -0.1, ink 1.175; checkpoint: as stored with model.weights",
        choices=("channel", "pixel", "lenet5_1998", "checkpoint"),
    )
    permutation_seed: int | None = setting(
        "seed of one fixed permutation of the pixels of every image; null: none",
        at_least=0,
        at_most=MOST_SEED,
    )
    residency: str = setting(
        "where the pixels are kept while training: GPU, host memory or mapped files",
        choices=("auto", "device", "host", "mapped"),
    )


@dataclass(kw_only=True)
class FilesConfig(DatasetConfig):
    """A data set read from files on this machine, or from a Store prepared from them."""

    root: str | None = setting("folder with the files, or a prepared Store of the data set")


@dataclass(kw_only=True)
class DownloadConfig(FilesConfig):
    """A data set that can be downloaded without an account."""

    download: bool = setting("download missing files from their public URLs into root")


@dataclass(kw_only=True)
class DecodedConfig(FilesConfig):
    """A data set whose images may have to be decoded each time they are read."""

    num_decode_threads: int | None = setting(
        "decoding threads; null: one per core", at_least=1, at_most=MOST_THREADS
    )
    num_readers: int = setting(
        "threads that read the training batches of a prepared Store whose images stay on disk, "
        "each into pinned memory of its own; above 1 not yet run on a GPU",
        at_least=1,
        at_most=MOST_THREADS,
        earlier=1,
    )
    decode: str = setting(
        "where the training images of a Store of JPEGs are decoded: host, or device (torchvision "
        "on CUDA; some levels from the host's; not yet run on a GPU)",
        choices=("host", "device"),
        earlier="host",
    )


@dataclass(kw_only=True)
class EncodedConfig(DecodedConfig):
    """A data set of image files, decoded when they are read unless they were prepared."""

    on_bad: str = setting(
        "files without a usable image: list them all and stop (fail), or skip and record them",
        choices=("fail", "skip"),
        earlier="fail",
    )


@dataclass(kw_only=True)
class FolderConfig(EncodedConfig):
    """Your own images: one folder per class."""

    num_test: int = setting(
        "images held out for testing if there is no folder test/", at_least=0, at_most=MANY
    )
    mirror_allowed: bool = setting("whether mirrored images keep their class")


@dataclass(kw_only=True)
class SyntheticConfig(DatasetConfig):
    """Generated images that can be learned; no file is read."""

    num_train: int = setting(
        "training images, including validation", at_least=1, at_most=10_000_000
    )
    num_test: int = setting("test images", at_least=1, at_most=10_000_000)
    num_classes: int = setting("number of classes", at_least=2, at_most=1_000_000)
    noise_levels: float = setting(
        "noise standard deviation in pixel levels (0 to 255)", at_least=0, at_most=10_000
    )


@dataclass(kw_only=True)
class StoredDatasetConfig:
    """The data set that the checkpoint was trained on; what is not null replaces a stored value."""

    name: str = setting("checkpoint: the data set named in the checkpoint", choices=("checkpoint",))
    root: str | None = setting("folder with the files")
    download: bool | None = setting("download missing files from their public URLs into root")
    residency: str | None = setting(
        "where the pixels are kept: GPU, host memory or mapped files",
        choices=("auto", "device", "host", "mapped"),
    )
    on_bad: str | None = setting("files without a usable image", choices=("fail", "skip"))

    def applied_to(self, stored: DatasetConfig) -> DatasetConfig:
        """Return the data set of a checkpoint with the values of this command.

        Raises UsageError for a setting that the stored data set does not have.
        """
        asked: dict[str, Any] = {
            "root": self.root,
            "download": self.download,
            "residency": self.residency,
            "on_bad": self.on_bad,
        }
        given = {key: value for key, value in asked.items() if value is not None}

        # `download: false` and the like change nothing where the data set has no such setting
        unknown = [key for key, value in given.items() if value and not hasattr(stored, key)]
        if unknown:
            raise UsageError(
                f"dataset '{stored.name}', which the checkpoint names, has no setting "
                f"'{unknown[0]}'",
                hint="leave it out, or name another data set to test on: dataset=NAME",
            )

        return replace(stored, **{key: given[key] for key in given if hasattr(stored, key)})


@dataclass(frozen=True)
class DatasetChoice(Choice):
    """A data set, and what is known of it before an image is read.

    mirror_allowed: whether a reflected image keeps its class; None: ask the set. is_digits: bright
    digits on black; photographs are brought to their form before they are classified. remark:
    follows its name wherever a run is described. published: what to compare ten views with.
    """

    mirror_allowed: bool | None = None
    is_digits: bool = False
    remark: str = ""
    published: str = ""


DATASETS = Table(
    "dataset",
    DatasetConfig,
    {
        "mnist5k": DatasetChoice(
            DatasetConfig,
            "cnnlab.data.mnist5k:load",
            mirror_allowed=False,
            is_digits=True,
            remark="a subset of MNIST, not the benchmark",
        ),
        "mnist": DatasetChoice(
            DownloadConfig, "cnnlab.data.idx:load_mnist", mirror_allowed=False, is_digits=True
        ),
        "fashion_mnist": DatasetChoice(
            DownloadConfig, "cnnlab.data.idx:load_fashion_mnist", mirror_allowed=True
        ),
        "cifar10": DatasetChoice(
            DownloadConfig, "cnnlab.data.cifar:load_cifar10", mirror_allowed=True
        ),
        "cifar100": DatasetChoice(
            DownloadConfig, "cnnlab.data.cifar:load_cifar100", mirror_allowed=True
        ),
        "gtsrb": DatasetChoice(EncodedConfig, "cnnlab.data.gtsrb:load", mirror_allowed=False),
        "imagenet": DatasetChoice(
            EncodedConfig,
            "cnnlab.data.imagenet:load_2012",
            mirror_allowed=True,
            published="40.7 / 18.2 % for one network of 2012, 38.1 / 16.4 % for five "
            "(Krizhevsky et al. 2012, table 2)",
        ),
        "imagenet_2010": DatasetChoice(
            EncodedConfig,
            "cnnlab.data.imagenet:load_2010",
            mirror_allowed=True,
            published="37.5 / 17.0 % for one network of 2012 (Krizhevsky et al. 2012, table 1)",
        ),
        "folder": DatasetChoice(FolderConfig, "cnnlab.data.folder:load"),
        "store": DatasetChoice(DecodedConfig, "cnnlab.data:load_store"),
        "synthetic": DatasetChoice(
            SyntheticConfig, "cnnlab.data.synthetic:load", mirror_allowed=True
        ),
    },
    usual="folder",
)
"""Builders: (settings) -> Splits, as the publishers split the set."""
