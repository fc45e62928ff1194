"""What durability costs: a save against writing and syncing the same bytes; verifying; memory.

    python scripts/torture/figures.py FOLDER

Prints one JSON document: the minimum of several rounds, in which both take turns, so that a busy
moment of the disk does not affect one of them alone.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint

ROUNDS = 7
SHAPES = (
    *((96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)),
    *((4096, 9216), (4096, 4096), (1000, 4096)),
)
"""The weights of AlexNet; a checkpoint has a momentum buffer for each."""


def alexnet_with_momentum() -> dict[str, torch.Tensor]:
    """Return tensors of the sizes that an AlexNet run saves."""
    tensors = {}
    for number, shape in enumerate(SHAPES):
        tensors[f"model.layer{number}.weight"] = torch.randn(shape)
        tensors[f"optimizer.layer{number}.weight.momentum_buffer"] = torch.randn(shape)
    return tensors


def write_and_sync(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write the bytes of the tensors and sync them: the lower bound of a save."""
    with open(path, "wb", buffering=0) as file:
        for tensor in tensors.values():
            rest = memoryview(tensor.view(-1).view(torch.uint8).numpy().data)
            while rest:
                rest = rest[file.write(rest[: 4 << 20]) :]
        os.fsync(file.fileno())


def seconds(action: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure(folder: Path) -> dict[str, Any]:
    """Return the figures; `folder` needs 1.5 GB of free space."""
    tensors = alexnet_with_momentum()
    path, plain = folder / "checkpoint", folder / "plain"
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    # A first small save imports what a save needs, which is not memory of the save itself.
    checkpoint.write(path, {"a": torch.ones(3)}, {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds = [
        (
            seconds(lambda: write_and_sync(plain, tensors)),
            seconds(lambda: checkpoint.write(path, tensors, {"step": 1})),
            seconds(lambda: checkpoint.verify(path)),
        )
        for _ in range(ROUNDS)
    ]

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    least, save, verify = (min(times) for times in zip(*rounds, strict=True))
    ratios = [own / plain_write for plain_write, own, _ in rounds]
    loading = seconds(lambda: checkpoint.read(path))
    path.unlink()
    plain.unlink()

    return {
        "megabytes": round(num_bytes / 1e6),
        "write_and_sync_seconds": round(least, 3),
        "save_seconds": round(save, 3),
        "save_over_write_and_sync": round(save / least, 2),
        "save_over_write_and_sync_median_of_pairs": round(statistics.median(ratios), 2),
        "verify_megabytes_per_second": round(num_bytes / 1e6 / verify),
        "verified_load_seconds": round(loading, 3),
        "memory_above_start_megabytes": round(grown / 1024, 1),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(json.dumps(measure(place)))
