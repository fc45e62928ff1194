"""What a preparation has finished so far, in one file that is replaced after each shard."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnlab.data.manifest import FileEntry
from cnnlab.data.moments import Sums
from cnnlab.files.atomic import write_bytes

FILE_NAME = "journal.npz"


@dataclass
class SplitProgress:
    """Finished shards of a split, the source indices they hold, and what was bad in them."""

    num_shards_done: int = 0
    shards: list[FileEntry] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Journal:
    """plan: digest of recipe and source; only the same plan goes on. sums: of training images."""

    plan: str
    sums: Sums
    splits: dict[str, SplitProgress] = field(default_factory=dict)

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
    fresh = Journal(plan, Sums.empty(image_shape))
    try:
        with np.load(folder / FILE_NAME, allow_pickle=False) as arrays:
            document = json.loads(arrays["document"].tobytes())
            pixel, product = (torch.from_numpy(arrays[name]) for name in ("pixel", "product"))
    except (OSError, ValueError, KeyError):
        return fresh
    if document["plan"] != plan:
        return fresh
    splits = {
        name: SplitProgress(
            progress["num_shards_done"],
            [FileEntry(**entry) for entry in progress["shards"]],
            progress["bad"],
        )
        for name, progress in document["splits"].items()
    }
    return Journal(plan, Sums(document["num_images"], pixel, product), splits)
