"""What a preparation has finished so far, in one file that is replaced after each shard."""

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.leaving_out import BadFile
from cnnlab.data.manifest import FileEntry, entry_of
from cnnlab.data.moments import Sums
from cnnlab.errors import DataError
from cnnlab.files.arrays import NOT_AN_ARRAY
from cnnlab.files.atomic import write_bytes
from cnnlab.safe_output import escape_control

FILE_NAME = "journal.npz"
_DAMAGE = (*NOT_AN_ARRAY, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise for a file that is not as it was written."""


@dataclass
class SplitProgress:
    """Finished shards of a split, and the bad files among their source images."""

    num_shards_done: int = 0
    shards: list[FileEntry] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)


@dataclass
class Journal:
    """The finished part of one plan.

    plan: digest of recipe and source; only the same plan is continued. sums: of training images.
    """

    plan: str
    sums: Sums
    splits: dict[str, SplitProgress] = field(default_factory=dict)

    def num_shards_done(self, split: str) -> int:
        """Return how many shards of a split are finished, those without a good image included."""
        return self.splits[split].num_shards_done if split in self.splits else 0

    def add(self, split: str, images: Tensor, shard: FileEntry | None, bad: list[BadFile]) -> None:
        """Record a finished shard with its images uint8 [n,H,W,C]; None where none was good."""
        progress = self.splits.setdefault(split, SplitProgress())
        progress.num_shards_done += 1
        progress.shards += [] if shard is None else [shard]
        progress.bad += bad
        if split == "train":
            self.sums.add(images)

    def write(self, folder: Path) -> None:
        """Replace the journal in `folder`."""
        splits = {name: asdict(progress) for name, progress in self.splits.items()}
        document = {"plan": self.plan, "splits": splits, "num_images": self.sums.num_images}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            document=np.frombuffer(json.dumps(document, allow_nan=False).encode(), dtype=np.uint8),
            pixel=self.sums.pixel.numpy(),
            product=self.sums.product.numpy(),
        )
        write_bytes(folder / FILE_NAME, buffer.getvalue())


def read(folder: Path, plan: str, image_shape: tuple[int, int, int]) -> Journal:
    """Return the journal of an earlier attempt at the same plan, else an empty one.

    Raises DataError for one that is damaged, OSError as `open` does.
    """
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Journal(plan, Sums.empty(image_shape))

    try:
        return _parsed(content, plan, image_shape)
    except _DAMAGE as error:
        raise DataError(
            "the journal of an interrupted preparation is damaged",
            escape_control(str(path.absolute())),
            "remove its folder, and the preparation starts from the beginning",
        ) from error


def _parsed(content: bytes, plan: str, image_shape: tuple[int, int, int]) -> Journal:
    """Return the journal in a file's content, an empty one for another plan."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        document = json.loads(arrays["document"].tobytes())
        pixel, product = (torch.from_numpy(arrays[name]) for name in ("pixel", "product"))
    empty = Sums.empty(image_shape)
    if document["plan"] != plan:
        return Journal(plan, empty)

    like = (empty.pixel.shape, empty.product.shape, torch.int64, torch.int64)
    if (pixel.shape, product.shape, pixel.dtype, product.dtype) != like:
        raise ValueError("sums of another shape")
    splits = {
        name: SplitProgress(
            int(progress["num_shards_done"]),
            [entry_of(entry) for entry in progress["shards"]],
            [BadFile(**entry) for entry in progress["bad"]],
        )
        for name, progress in document["splits"].items()
    }
    return Journal(plan, Sums(int(document["num_images"]), pixel, product), splits)
