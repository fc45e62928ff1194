"""IDX files, the format of MNIST and Fashion-MNIST: strict reading, plain or gzipped.

Source: the format's description on the MNIST page: magic (two zero bytes, type, number of
dimensions), sizes as big-endian 32-bit integers, then the values.
"""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cnnlab.config import DatasetConfig
from cnnlab.config.data import DATASETS, DownloadConfig
from cnnlab.data.download import Remote, fetch
from cnnlab.data.store import ArrayStore, Splits
from cnnlab.errors import DataError

_UNSIGNED_BYTE = 0x08
_MOST_VALUES = 1 << 31


@dataclass(frozen=True)
class IdxSet:
    """A set of four IDX files: where they are looked for, and the names of its classes."""

    name: str
    class_names: tuple[str, ...]
    usual_folders: tuple[Path, ...]
    install_hint: str
    remotes: tuple[Remote, ...]


FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _remotes(folder: str, *md5s: str) -> tuple[Remote, ...]:
    """Return the four gzipped files in `folder`, with their MD5 sums in the order of FILES."""
    names = [f"{name}.gz" for pair in FILES.values() for name in pair]
    return tuple(Remote(name, (folder,), md5) for name, md5 in zip(names, md5s, strict=True))


MNIST = IdxSet(
    name="mnist",
    class_names=tuple("0123456789"),
    usual_folders=(),
    install_hint="set dataset.root to their folder, or dataset.download=true;"
    " or dataset=mnist5k, which needs no files",
    remotes=_remotes(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)

FASHION_MNIST = IdxSet(
    name="fashion_mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    usual_folders=(Path("/usr/share/datasets/fashion-mnist"),),
    install_hint="apt install dataset-fashion-mnist, or set dataset.root, or dataset.download=true",
    remotes=_remotes(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


def load(idx_set: IdxSet, config: DatasetConfig) -> Splits:
    """Read the four files. Raises DataError with the missing names and the places searched."""
    assert isinstance(config, DownloadConfig)
    folders = [Path(config.root)] if config.root else list(idx_set.usual_folders)
    folder = next((f for f in folders if not missing_files(f)), None)
    if folder is None and config.download:
        folder = fetch(idx_set.remotes, config.root, idx_set.name)
    if folder is None:
        raise _not_found(idx_set, folders)
    train, test = (_read_split(idx_set, folder, split) for split in FILES)
    return Splits(train, None, test)


load_mnist, load_fashion_mnist = (partial(load, idx_set) for idx_set in (MNIST, FASHION_MNIST))
"""The builders in the table of data sets."""


def missing_files(folder: Path) -> list[str]:
    """Return which of the four files `folder` lacks, plain and gzipped."""
    names = [name for pair in FILES.values() for name in pair]
    return [name for name in names if _find(folder, name) is None]


def _find(folder: Path, name: str) -> Path | None:
    """Return the file or None; some unpackers write a dot for the dash: train-images.idx3-ubyte."""
    dotted = name.replace("-idx", ".idx")
    candidates = (folder / f"{stem}{end}" for stem in (name, dotted) for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _not_found(idx_set: IdxSet, folders: list[Path]) -> DataError:
    if not folders:
        names = [name for pair in FILES.values() for name in pair]
        where = f"looked for {', '.join(names)} (or .gz); dataset.root is not set"
    else:
        gaps = [f"{', '.join(missing_files(f))} in {f.absolute()}" for f in folders]
        where = "missing " + "; ".join(gaps)
    return DataError(f"the files of {idx_set.name} were not found", where, idx_set.install_hint)


def _read_split(idx_set: IdxSet, folder: Path, split: str) -> ArrayStore:
    image_path, label_path = (_find(folder, name) for name in FILES[split])
    assert image_path is not None
    assert label_path is not None

    images = read_idx(image_path, num_dimensions=3)
    labels = read_idx(label_path, num_dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{len(images)} images but {len(labels)} labels", f"{image_path}, {label_path}"
        )

    return ArrayStore(
        name=idx_set.name,
        split=split,
        images=torch.from_numpy(images).unsqueeze(-1),
        labels=torch.from_numpy(labels).long(),
        class_names=idx_set.class_names,
        mirror_allowed=bool(DATASETS[idx_set.name].mirror_allowed),
    )


def read_idx(path: Path, num_dimensions: int) -> np.ndarray:
    """Return the unsigned bytes of an IDX file, shaped as its header says.

    Raises DataError: not IDX, another type or number of dimensions, too short, too long.
    """
    content = _read_bytes(path)
    header_bytes = 4 + 4 * num_dimensions
    if len(content) < header_bytes or content[:2] != b"\0\0":
        raise DataError("not an IDX file", str(path))
    if content[2] != _UNSIGNED_BYTE or content[3] != num_dimensions:
        raise DataError(
            f"IDX type 0x{content[2]:02x} with {content[3]} dimensions, expected unsigned bytes"
            f" with {num_dimensions}",
            str(path),
        )

    sizes = struct.unpack(f">{num_dimensions}I", content[4:header_bytes])
    num_values, found = math.prod(sizes), len(content) - header_bytes
    if num_values != found:
        raise DataError(
            f"the header states {num_values} bytes of data, the file has {found}",
            str(path),
            "the file is truncated or damaged: download it again",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(sizes)


def _read_bytes(path: Path) -> bytearray:
    """Read a plain or gzipped file, by its first bytes, up to 2 GiB unpacked."""
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if is_gzip else file
            content = bytearray(stream.read(_MOST_VALUES))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read: {error}", str(path)) from error
    return content
