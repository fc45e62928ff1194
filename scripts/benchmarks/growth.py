"""How cost scales: LeNet-5's training with the batch size, its test with views and members."""

from itertools import islice
from typing import Any

import ours
import torch
from head import answer, options, parse
from lenet import SETTINGS
from work import clock, our_parts

from cnnlab.evaluation.evaluate import evaluate

BATCH_SIZES = (16, 32, 64, 128, 256, 512)
NUM_IMAGES = 8192
"""Per round of training: the same number of images in smaller or larger batches."""

TESTS = (("center", 1), ("ten_view", 1), ("center", 5), ("ten_view", 5))
NUM_TEST_BATCHES = 4


def training(batch_size: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the images per second of the whole loop at one batch size: the best round."""
    parts = our_parts(*SETTINGS, f"trainer.batch_size={batch_size}", device=device)
    advance, num_steps = ours.whole_training(parts), NUM_IMAGES // batch_size
    advance(max(5, num_steps // 4))
    seconds = min(advance(num_steps)[0] for _ in range(rounds)) / num_steps
    return {
        "batch_size": batch_size,
        "images_per_second": batch_size / seconds,
        "milliseconds_per_step": 1e3 * seconds,
    }


def testing(views: str, num_members: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the images per second of a test with these views and members: the best round."""
    # the views are cut from the image with its border
    parts = our_parts(*SETTINGS, "augment=crop", device=device)
    store = parts.splits.test
    batches = [(b.images, b.labels) for b in islice(parts.in_order(store), NUM_TEST_BATCHES)]
    members = [parts.member(views)] * num_members
    num_views = members[0].views(batches[0][0][:1]).shape[1]
    num_images = sum(len(labels) for _, labels in batches)

    times = []
    for _ in range(rounds + 1):
        started = clock(device)
        evaluate(members, batches, num_classes=len(store.class_names))
        times.append(clock(device) - started)
    best = min(times[1:])  # the first round warms up

    return {
        "views": num_views,
        "members": num_members,
        "images_per_second": num_images / best,
        "microseconds_per_view": 1e6 * best / num_images / num_views / num_members,
    }


def main() -> None:
    given = parse(options(__doc__, rounds=4, threads=True, device=True))
    document = {
        "device": str(given.device),
        "num_threads": given.threads,
        "rounds": given.rounds,
        "training": [training(size, given.rounds, given.device) for size in BATCH_SIZES],
        "judging": [testing(*test, given.rounds, given.device) for test in TESTS],
    }
    answer("growth", document)


if __name__ == "__main__":
    main()
