"""Runs that decode images while training: resumed from each step, with 1 and 4 threads."""

from pathlib import Path
from typing import Any

import torch

from cnnlab.data.jpeg import encode_jpeg
from cnnlab.runtime import make_generator
from scripts.torture import command, runs

NUM_TRAIN, NUM_TEST, NUM_CLASSES = 160, 20, 4
SIDE_PIXELS = 40
SETTINGS = (
    *runs.SHORT,
    *runs.STEPS_24,
    "dataset=folder",
    "dataset.image_size_pixels=36",
    "dataset.num_validation=16",
    "dataset.residency=mapped",
    "augment=alexnet",
    "augment.crop_pixels=32",
)


def resume_decoding_runs(base: Path, steps: list[int]) -> dict[str, Any]:
    """Resume a run on a Store of JPEGs from each of `steps`, with 1 and with 4 decoding threads."""
    store = _prepared(base)
    found: dict[str, Any] = {}
    for threads in (1, 4):
        folder = base / f"threads_{threads}"
        folder.mkdir()
        words = (*SETTINGS, f"dataset.root={store}", f"dataset.num_decode_threads={threads}")
        found[str(threads)] = runs.resume_from_each_step(folder, command.call, steps, words)

    apart = command.differences(base / "threads_1" / "whole", base / "threads_4" / "whole")
    # The documents differ by the number of threads.
    found["alike"] = not [text for text in apart if text != "documents differ"]
    return found


def _prepared(base: Path) -> Path:
    """Write random images as JPEG files, and prepare a Store of them."""
    for split, number in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for index in range(number):
            folder = base / "pictures" / split / f"class_{index % NUM_CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = torch.rand(1, 3, 8, 8, generator=make_generator(0, split, index))
            size = (SIDE_PIXELS + index % 5, SIDE_PIXELS + index % 7)
            smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
            pixels = (255 * smooth[0]).to(torch.uint8)
            (folder / f"{index:03d}.jpg").write_bytes(encode_jpeg(pixels, 75))

    words = ("dataset=folder", f"dataset.root={base / 'pictures'}", "encoding=jpeg")
    store = base / "store"
    outcome = command.call("prepare", *words, "dataset.image_size_pixels=36", f"output={store}")
    if outcome.code != 0:
        raise AssertionError(outcome.errors)
    return store
