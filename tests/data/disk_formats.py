"""Write small image sets in the exact format that their publishers hand out."""

import gzip
import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


CIFAR10_NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()


def random_pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def cycled_labels(num: int, num_classes: int = 10) -> np.ndarray:
    return (np.arange(num) % num_classes).astype(np.uint8)


def idx_bytes(values: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.tobytes()


def write_idx_set(
    folder: Path, num_train: int = 60, num_test: int = 20, zipped: bool = True
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, num) in enumerate((("train", num_train), ("test", num_test))):
        contents = (random_pixels(seed, num, 28, 28), cycled_labels(num))
        for name, values in zip(IDX_NAMES[split], contents, strict=True):
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(values)))
            else:
                (folder / name).write_bytes(idx_bytes(values))


class Python2Pickler(pickle._Pickler):
    """Pickle bytes as the str of Python 2, as the published CIFAR files have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        if len(value) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(value)]) + value)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(value: Any) -> bytes:
    """NumPy's modules get the names they had in Python 2."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar_batch(seed: int, num: int, num_classes: int = 10, label_key: bytes = b"labels") -> dict:
    return {
        b"batch_label": b"training batch",
        b"data": random_pixels(seed, num, 3072),
        label_key: [int(label) for label in cycled_labels(num, num_classes)],
        b"filenames": [f"picture_{item}.png".encode() for item in range(num)],
    }


def write_cifar10(root: Path, num_each: int = 20) -> Path:
    """Return the folder with the five training batches and the test batch."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        (folder / name).write_bytes(python2_pickle(cifar_batch(seed, num_each)))
    (folder / "batches.meta").write_bytes(python2_pickle({b"label_names": CIFAR10_NAMES}))
    return folder


def write_cifar100(root: Path, num_each: int = 200) -> Path:
    """Return the folder with the two batches and the names."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train", "test")):
        batch = cifar_batch(seed, num_each, 100, b"fine_labels")
        (folder / name).write_bytes(python2_pickle(batch))
    names = [f"thing {number}".encode() for number in range(100)]
    (folder / "meta").write_bytes(python2_pickle({b"fine_label_names": names}))
    return folder
