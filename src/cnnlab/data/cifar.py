"""CIFAR-10 and -100: pickles of Python 2, read by an unpickler that makes arrays only."""

import io
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, DownloadConfig
from cnnlab.data.archive import unpack
from cnnlab.data.download import Remote, fetch
from cnnlab.data.store import ArrayStore, Splits
from cnnlab.errors import DataError


@dataclass(frozen=True)
class CifarSet:
    """The files of a set, and the keys of their labels."""

    name: str
    folder: str
    archive: Remote
    train_files: tuple[str, ...]
    test_file: str
    meta_file: str
    label_key: bytes
    names_key: bytes
    num_classes: int

    def files(self) -> tuple[str, ...]:
        """Return the names of all files of the set."""
        return (*self.train_files, self.test_file, self.meta_file)


_HOME = ("https://www.cs.toronto.edu/~kriz/",)
CIFAR10 = CifarSet(
    name="cifar10",
    folder="cifar-10-batches-py",
    archive=Remote("cifar-10-python.tar.gz", _HOME, "c58f30108f718f92721af3b95e74349a"),
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_file="test_batch",
    meta_file="batches.meta",
    label_key=b"labels",
    names_key=b"label_names",
    num_classes=10,
)
CIFAR100 = CifarSet(
    name="cifar100",
    folder="cifar-100-python",
    archive=Remote("cifar-100-python.tar.gz", _HOME, "eb9058c3a382ffc7106e4002c42a8d85"),
    train_files=("train",),
    test_file="test",
    meta_file="meta",
    label_key=b"fine_labels",
    names_key=b"fine_label_names",
    num_classes=100,
)


def load(cifar: CifarSet, config: DatasetConfig) -> Splits:
    """Read the pickled batches. Raises DataError that names missing files."""
    assert isinstance(config, DownloadConfig)
    folder = find_folder(cifar, Path(config.root)) if config.root else None
    if folder is None and config.download:
        fetched = fetch((cifar.archive,), config.root, cifar.name)
        unpack(fetched / cifar.archive.name, fetched)
        folder = find_folder(cifar, fetched)
    if folder is None:
        raise _not_found(cifar, config.root)

    names = read_class_names(folder / cifar.meta_file, cifar.names_key, cifar.num_classes)
    train, test = (_read_files(cifar, folder, split, names) for split in ("train", "test"))
    return Splits(train, None, test)


load_cifar10, load_cifar100 = (partial(load, cifar) for cifar in (CIFAR10, CIFAR100))
"""The builders in the table of data sets."""


def find_folder(cifar: CifarSet, root: Path) -> Path | None:
    """Return `root` or the archive's folder in it: the one with all files of the set, or None."""
    folders = (root, root / cifar.folder)
    return next((f for f in folders if all((f / n).is_file() for n in cifar.files())), None)


def _not_found(cifar: CifarSet, root: str | None) -> DataError:
    where = f"looked for {', '.join(cifar.files())}; dataset.root is not set"
    if root:
        folder = Path(root).absolute()
        where = f"looked for {', '.join(cifar.files())} in {folder} and {folder / cifar.folder}"
    return DataError(
        f"the files of {cifar.name} were not found",
        where,
        f"set dataset.root to the unpacked {cifar.archive.name}, or dataset.download=true",
    )


def _read_files(
    cifar: CifarSet, folder: Path, split: str, class_names: tuple[str, ...]
) -> ArrayStore:
    files = cifar.train_files if split == "train" else (cifar.test_file,)
    parts = [read_batch(folder / name, cifar.label_key, cifar.num_classes) for name in files]
    return ArrayStore(
        name=cifar.name,
        split=split,
        images=torch.from_numpy(np.concatenate([images for images, _ in parts])),
        labels=torch.from_numpy(np.concatenate([labels for _, labels in parts])),
        class_names=class_names,
        mirror_allowed=bool(DATASETS[cifar.name].mirror_allowed),
    )


def read_class_names(path: Path, key: bytes, num_classes: int) -> tuple[str, ...]:
    """Return the names of a meta file. Raises DataError."""
    meta = _unpickle(path)
    names = meta.get(key) if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(f"{key!r} must list the class names", str(path))
    if len(names) != num_classes:
        raise DataError(f"{len(names)} class names, expected {num_classes}", str(path))
    return tuple(name.decode("utf-8", "replace") for name in names)


def read_batch(path: Path, label_key: bytes, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N,32,32,3] and int64 [N] of one pickled batch. Raises DataError."""
    batch = _unpickle(path)
    data = batch.get(b"data") if isinstance(batch, dict) else None
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2):
        raise DataError("a batch must hold b'data', unsigned bytes [N,3072]", str(path))

    labels = batch.get(label_key)
    good = isinstance(labels, list) and all(type(item) is int for item in labels)
    if not good or len(labels) != len(data) or data.shape[1] != 3072:
        raise DataError(f"{label_key!r} must list one whole number per image", str(path))
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
    """Resolve the three names that the published batches contain, and refuse all others."""

    def find_class(self, module: str, name: str) -> Any:
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it pickles {module}.{name}, which is not allowed")


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Return what a pickled array starts from, before its state is set."""
    return np.ndarray.__new__(np.ndarray, (0,), dtype="b")
