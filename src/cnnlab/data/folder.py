"""folder: your own images, a folder a class; and what all sets of image files share."""

import os
from pathlib import Path

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DecodedConfig, EncodedConfig, FolderConfig
from cnnlab.data.files import Decoding, FileStore
from cnnlab.data.listing import Listing, list_class_folders, list_classes, some
from cnnlab.data.split import hold_out
from cnnlab.data.store import Splits, Store
from cnnlab.errors import DataError, UsageError
from cnnlab.printable import printable

_VALIDATION_NAMES = ("val", "valid", "validation")
LAYOUT = "expected root/train/CLASS/picture.jpg (and test/, val/), or root/CLASS/picture.jpg"


def load(config: DatasetConfig) -> Splits:
    """Read root/train, root/test and root/val; whatever is missing is held out of training.

    A root of class folders alone is all training data, of which both are held out. Test and
    validation follow the training classes by name. Raises DataError, UsageError.
    """
    assert isinstance(config, FolderConfig)
    root = existing_root(config.root, "folder", LAYOUT)
    train_folder = root / "train" if (root / "train").is_dir() else root
    train: Store = _store(config, "train", list_class_folders(train_folder))
    validation = _optional(config, "validation", root, _VALIDATION_NAMES, train)
    test = _optional(config, "test", root, ("test",), train)
    if test is None:
        train, test = _hold_out_test(train, config)
    return Splits(train, validation, test)


def existing_root(root: str | None, name: str, layout: str) -> Path:
    """Return dataset.root as a folder. Raises DataError when it is not set or not there."""
    if root is None:
        raise DataError(f"the files of {name} were not found", "dataset.root is not set", layout)
    if not Path(root).is_dir():
        where = printable(str(Path(root).absolute()))
        raise DataError("dataset.root is no folder", where, layout)
    return Path(root)


def decoding_for(config: EncodedConfig) -> Decoding:
    """Decode to the size of the content that the network will see."""
    side = config.image_size_pixels - 2 * config.pad_pixels
    if side < 1:
        raise UsageError(f"dataset.pad_pixels={config.pad_pixels} leaves no pixel of the images")
    return Decoding(side, config.channels or 3, num_threads=decode_threads(config))


def decode_threads(config: DecodedConfig) -> int:
    """Return how many threads decode: as asked, else one a core that this process may use."""
    return config.num_decode_threads or len(os.sched_getaffinity(0))


def _store(config: FolderConfig, split: str, listing: Listing) -> FileStore:
    store = FileStore("folder", split, listing, decoding_for(config), config.mirror_allowed)
    notes = []
    if listing.num_ignored:
        notes.append(f"{listing.num_ignored} files ignored, not images by their ending")
    if missing := listing.missing():
        notes.append(f"no images of {len(missing)} of the training classes: {some(missing)}")
    store.note = "; ".join(notes)
    return store


def _optional(
    config: FolderConfig, split: str, root: Path, names: tuple[str, ...], train: Store
) -> Store | None:
    found = [root / name for name in names if (root / name).is_dir()]
    if not found or not (root / "train").is_dir():
        return None
    list_classes(found[0])
    listing = list_class_folders(found[0], train.class_names, all_present=False)
    return _store(config, split, listing)


def _hold_out_test(train: Store, config: FolderConfig) -> tuple[Store, Store]:
    if config.num_test == 0:
        raise UsageError(
            "there are no test images",
            printable(str(Path(config.root or "").absolute())),
            "make a folder test/ beside train/, or hold some out: dataset.num_test=200",
        )
    train, test = hold_out(train, config.num_test, _TEST_SEED, ("train", "test"))
    assert test is not None
    return train, test


_TEST_SEED = 2012
"""Fixed: another dataset.split_seed chooses other validation images, never other test images."""
