"""What a preparation has finished so far, in one file that is replaced after each shard."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.leaving_out import BadFile
from cnnlab.data.manifest import FileEntry
from cnnlab.data.moments import Sums
from cnnlab.files.atomic import write_bytes

FILE_NAME = "journal.npz"


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
    """Return the journal of an earlier attempt at the same plan, else an empty one."""
    empty = Journal(plan, Sums.empty(image_shape))
    try:
        with np.load(folder / FILE_NAME, allow_pickle=False) as arrays:
            document = json.loads(arrays["document"].tobytes())
            pixel, product = (torch.from_numpy(arrays[name]) for name in ("pixel", "product"))
    except (OSError, ValueError, KeyError):  # none, or a damaged one: build from scratch
        return empty
    if document["plan"] != plan:
        return empty

    splits = {
        name: SplitProgress(
            progress["num_shards_done"],
            [FileEntry(**entry) for entry in progress["shards"]],
            [BadFile(**entry) for entry in progress["bad"]],
        )
        for name, progress in document["splits"].items()
    }
    return Journal(plan, Sums(document["num_images"], pixel, product), splits)
