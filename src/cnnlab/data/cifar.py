"""CIFAR-10: pickled batches of Python 2, read by an unpickler that can make nothing but arrays."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DownloadConfig
from cnnlab.data.download import Remote, fetch
from cnnlab.data.split import hold_out
from cnnlab.data.store import ArrayStore, Splits
from cnnlab.errors import DataError

_FOLDER = "cifar-10-batches-py"
_ARCHIVE = Remote(
    "cifar-10-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/",),
    "c58f30108f718f92721af3b95e74349a",
)
_TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
_FILES = (*_TRAIN_FILES, "test_batch")
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load(config: DatasetConfig) -> Splits:
    """Return CIFAR-10's 50,000 + 10,000 images."""
    assert isinstance(config, DownloadConfig)
    folder = find_folder(Path(config.root)) if config.root else None
    if folder is None and config.download:
        fetched = fetch((_ARCHIVE,), config.root, "cifar10")
        unpack(fetched / _ARCHIVE.name, fetched)
        folder = find_folder(fetched)
    if folder is None:
        raise _not_found(config.root)
    train = _read_files(folder, "train", _TRAIN_FILES)
    test = _read_files(folder, "test", ("test_batch",))
    return hold_out(train, test, config.num_validation, config.split_seed)


def find_folder(root: Path) -> Path | None:
    """Return `root` or its cifar-10-batches-py, whichever holds all six batches."""
    folders = (root, root / _FOLDER)
    return next((f for f in folders if all((f / name).is_file() for name in _FILES)), None)


def _not_found(root: str | None) -> DataError:
    where = "dataset.root is not set"
    if root:
        folder = Path(root).absolute()
        where = f"looked for {', '.join(_FILES)} in {folder} and {folder / _FOLDER}"
    return DataError(
        "the files of cifar10 were not found",
        where,
        "set dataset.root to the unpacked cifar-10-python.tar.gz, or dataset.download=true",
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive; members that point outside of `folder` are refused with DataError."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"cannot unpack: {error}", str(archive)) from error


def _read_files(folder: Path, split: str, names: tuple[str, ...]) -> ArrayStore:
    parts = [read_batch(folder / name, b"labels", len(CLASS_NAMES)) for name in names]
    return ArrayStore(
        name="cifar10",
        split=split,
        images=torch.from_numpy(np.concatenate([images for images, _ in parts])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in parts])),
        class_names=CLASS_NAMES,
        mirror_allowed=True,
    )


def read_batch(path: Path, label_key: bytes, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N,32,32,3] and int64 [N] of one pickled batch. Raises DataError."""
    batch = _unpickle(path)
    data = batch.get(b"data") if isinstance(batch, dict) else None
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2):
        raise DataError("a batch must hold b'data', unsigned bytes [N,3072]", str(path))
    labels = batch.get(label_key)
    good = isinstance(labels, list) and all(type(item) is int for item in labels)
    if not good or len(labels) != len(data) or data.shape[1] != 3072:
        raise DataError(f"{label_key!r} must list a whole number for each of the images", str(path))
    if not all(0 <= label < num_classes for label in labels):
        raise DataError(f"a label outside 0..{num_classes - 1}", str(path))
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def _unpickle(path: Path) -> Any:
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"not a CIFAR batch: {error}", str(path)) from error


class _ArraysOnly(pickle.Unpickler):
    """Knows the three names that the published batches contain, and refuses every other."""

    def find_class(self, module: str, name: str) -> Any:
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"the name {module}.{name} does not belong there")


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """What a pickled array starts from, before its state is set."""
    return np.ndarray.__new__(np.ndarray, (0,), dtype="b")
