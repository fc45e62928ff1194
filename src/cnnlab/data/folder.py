"""folder: your own images, one folder per class."""

from dataclasses import replace
from pathlib import Path

from cnnlab.config import DatasetConfig
from cnnlab.config.data import FolderConfig
from cnnlab.data.files import FileStore, decoding_for, existing_root
from cnnlab.data.layout import Layout, read_layout
from cnnlab.data.listing import Listing, join_notes, list_class_folders
from cnnlab.data.split import hold_out
from cnnlab.data.store import Splits, Store
from cnnlab.errors import UsageError
from cnnlab.safe_output import escape_control

LAYOUT = "expected root/train/CLASS/picture.jpg (and test/, val/), or root/CLASS/picture.jpg"


def load(config: DatasetConfig) -> Splits:
    """Read the folders of the splits; a missing split is held out of training.

    A root of class folders alone is all training data. Labels of test and validation follow the
    training classes by name. Raises DataError, UsageError.
    """
    assert isinstance(config, FolderConfig)
    root = existing_root(config.root, "folder", LAYOUT)
    layout = read_layout(root)
    _check_num_test(config, layout)

    listing = list_class_folders(layout.splits.get("train", root))
    listing = replace(listing, left_out=listing.left_out + layout.left_out)
    train: Store = _store(config, "train", listing, layout.note)

    unused = (
        f"dataset.num_validation={config.num_validation} is not used: there is a validation folder"
    )
    note = unused if config.num_validation else ""
    validation = _own_split(config, "validation", layout, train.class_names, note)

    test = _own_split(config, "test", layout, train.class_names)
    if test is None:
        train, test = _hold_out_test(train, config)
    return Splits(train, validation, test)


def _check_num_test(config: FolderConfig, layout: Layout) -> None:
    """Raise UsageError for num_test where a test folder exists."""
    if config.num_test and (folder := layout.splits.get("test")) is not None:
        raise UsageError(
            f"dataset.num_test={config.num_test} holds out test images, but there is a test folder",
            escape_control(str(folder.absolute())),
            "dataset.num_test=0 tests on that folder; or move it out of dataset.root",
        )


def _own_split(
    config: FolderConfig, split: str, layout: Layout, classes: tuple[str, ...], note: str = ""
) -> Store | None:
    """Return the split that has a folder of its own, labeled as training is; else None."""
    if (folder := layout.splits.get(split)) is None:
        return None
    return _store(config, split, list_class_folders(folder, classes, all_present=False), note)


def _store(config: FolderConfig, split: str, listing: Listing, note: str) -> FileStore:
    note = join_notes(listing.note(), note)
    return FileStore("folder", split, listing, decoding_for(config), config.mirror_allowed, note)


def _hold_out_test(train: Store, config: FolderConfig) -> tuple[Store, Store]:
    if config.num_test == 0:
        raise UsageError(
            "there are no test images",
            escape_control(str(Path(config.root or "").absolute())),
            "make a folder test/ beside train/, or hold some out: dataset.num_test=200",
        )
    train, test = hold_out(train, config.num_test, _TEST_SEED, ("train", "test"))
    assert test is not None
    return train, test


_TEST_SEED = 2012
"""Fixed: another dataset.split_seed chooses other validation images, never other test images."""
