"""Image sets: sources (one file per format) -> Store -> stream -> augment.

Everything in front of the Store is slow, careful and runs once; everything after it is batched.
"""

from pathlib import Path

from cnnlab import interrupts
from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, DecodedConfig, EncodedConfig, FilesConfig
from cnnlab.data.entries import check_openable
from cnnlab.data.files import decode_threads
from cnnlab.data.leaving_out import leave_out
from cnnlab.data.manifest import is_store
from cnnlab.data.permuted import permute
from cnnlab.data.prepared import open_splits
from cnnlab.data.split import hold_out, training_subset
from cnnlab.data.store import Splits
from cnnlab.errors import DataError


@interrupts.at_once()
def build(config: DatasetConfig) -> Splits:
    """Read the set that `config.name` names. Raises DataError when it is missing or damaged.

    Bad files are left out where the config says so. Validation is the set's own where it has some
    besides test, else a seeded part of training; a subset is taken of what is left.
    """
    splits = load(config)
    if isinstance(config, EncodedConfig) and config.on_bad == "skip" and not _is_prepared(config):
        splits = leave_out(splits)
    if splits.validation is None:
        train, validation = hold_out(splits.train, config.num_validation, config.split_seed)
        splits = Splits(train, validation, splits.test)
    if config.train_subset is not None:
        train = training_subset(splits.train, config.train_subset, config.split_seed)
        splits = Splits(train, splits.validation, splits.test)
    if config.permutation_seed is not None:
        splits = permute(splits, config.permutation_seed)
    return splits


@interrupts.at_once()
def load(config: DatasetConfig) -> Splits:
    """Read a set as its publishers split it, from its files or from a Store prepared from them."""
    root = config.root if isinstance(config, FilesConfig) else None
    if root is not None:
        check_openable(root)
    if root is not None and _is_prepared(config):
        return _open_prepared(config, Path(root))
    splits: Splits = DATASETS[config.name].load()(config)
    return splits


def load_store(config: DecodedConfig) -> Splits:
    """Raise DataError: a Store that is there was opened by `load` already."""
    where = str(Path(config.root).absolute()) if config.root else "dataset.root is not set"
    raise DataError("no prepared Store", where, "make one: cnnlab prepare")


def _is_prepared(config: DatasetConfig) -> bool:
    root = config.root if isinstance(config, FilesConfig) else None
    return root is not None and is_store(Path(root))


def _open_prepared(config: DatasetConfig, root: Path) -> Splits:
    num_threads = decode_threads(config) if isinstance(config, DecodedConfig) else 1
    splits = open_splits(root, num_threads)
    if config.name not in ("store", splits.train.name):
        raise DataError(
            f"a Store of {splits.train.name}, not of {config.name}",
            str(root.absolute()),
            f"dataset={splits.train.name}, or dataset=store",
        )
    return splits
