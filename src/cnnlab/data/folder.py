"""folder: your own images, a folder a class; and what all sets of image files share."""

import os
from pathlib import Path

from cnnlab.config import DatasetConfig
from cnnlab.config.data import EncodedConfig, FolderConfig
from cnnlab.data.files import Decoding, FileStore
from cnnlab.data.layout import read_layout
from cnnlab.data.listing import Listing, list_class_folders
from cnnlab.data.split import hold_out
from cnnlab.data.store import Splits, Store
from cnnlab.errors import DataError, UsageError
from cnnlab.printable import printable

LAYOUT = "expected root/train/CLASS/picture.jpg (and test/, val/), or root/CLASS/picture.jpg"


def load(config: DatasetConfig) -> Splits:
    """Read the folders of the splits; whatever is missing is held out of training.

    A root of class folders alone is all training data, of which both are held out. Test and
    validation follow the training classes by name. Raises DataError, UsageError.
    """
    assert isinstance(config, FolderConfig)
    root = existing_root(config.root, "folder", LAYOUT)
    layout = read_layout(root)
    listing = list_class_folders(layout.splits.get("train", root))
    listing.left_out.update(layout.left_out)
    train: Store = _store(config, "train", listing)
    train.note = "; ".join(part for part in (train.note, layout.note) if part)

    others: dict[str, Store | None] = {"validation": None, "test": None}
    for split in others:
        if (folder := layout.splits.get(split)) is not None:
            found = list_class_folders(folder, train.class_names, all_present=False)
            others[split] = _store(config, split, found)

    if (validation := others["validation"]) is not None and config.num_validation:
        unused = f"dataset.num_validation={config.num_validation} is not used: there is a folder"
        validation.note = "; ".join(part for part in (validation.note, unused) if part)

    test = others["test"]
    if test is None:
        train, test = _hold_out_test(train, config)
    elif config.num_test:
        raise UsageError(
            f"dataset.num_test={config.num_test} would hold out test images, but there are some",
            printable(str(layout.splits["test"].absolute())),
            "dataset.num_test=0 tests on that folder; or move it out of dataset.root",
        )
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


def decode_threads(config: EncodedConfig) -> int:
    """Return how many threads decode: as asked, else one a core that this process may use."""
    return config.num_decode_threads or len(os.sched_getaffinity(0))


def _store(config: FolderConfig, split: str, listing: Listing) -> FileStore:
    return FileStore("folder", split, listing, decoding_for(config), config.mirror_allowed)


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
