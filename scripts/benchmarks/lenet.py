"""LeNet-5 on Fashion-MNIST: cnnlab, its own step bare, and the peers, in one interleaved run."""

import argparse
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import ours
import peers
import torch
from serving import serve, start
from timing import compare, matrix_limit, row
from work import Advance, Work, our_parts, textbook_lenet5, work_of

FLOP_PER_IMAGE = 2.26e6
"""Forward and backward of LeNet-5: 2 x (3 x 416,520 - 117,600) multiply-adds, in FLOP."""

SETTINGS = (
    "dataset=fashion_mnist",
    "augment=none",
    "schedule=constant",
    "optimizer.learning_rate=0.01",
    "optimizer.weight_decay=0",
)


def loop(name: str, batch_size: int) -> Advance:
    """Build the loop called `name`; each starts from the same weights."""
    settings = (*SETTINGS, f"trainer.batch_size={batch_size}")
    if name in OURS:
        return OURS[name](our_parts(*settings))
    return PEERS[name](work_of(our_parts(*settings, configured=False)), textbook_lenet5)


OURS = {"cnnlab": ours.whole_training, "same step, bare": ours.bare_step}

PEERS: dict[str, Callable[[Work, peers.Network], Advance]] = {
    "bare in-memory loop": peers.bare_loop,
    "PyTorch MNIST example": peers.mnist_example,
    "Lightning": peers.lightning,
    "Keras 3 on torch": peers.keras,
    "timm's train machinery": peers.timm_machinery,
}

PACKAGES = {
    "Lightning": "lightning",
    "Keras 3 on torch": "keras",
    "timm's train machinery": "timm",
}
"""What a peer needs; a row without its package is left out."""


def installed(name: str) -> bool:
    """Say whether the peer's package is there."""
    return name not in PACKAGES or importlib.util.find_spec(PACKAGES[name]) is not None


def measure(batch_size: int, num_steps: int, rounds: int, wanted: list[str]) -> dict[str, Any]:
    """Return the rows of one batch size as plain JSON."""
    threads = str(torch.get_num_threads())
    loops = {
        name: start(__file__, name, "--batch-sizes", str(batch_size), "--threads", threads)
        for name in [*OURS, *filter(installed, wanted)]
    }
    comparison = compare(loops, num_steps=num_steps, rounds=rounds)
    limit = matrix_limit()
    rows = {n: row(comparison, n, "cnnlab", batch_size) for n in comparison.seconds}
    for figures in rows.values():
        flop = figures["images_per_second"] * FLOP_PER_IMAGE
        figures["share_of_matrix_limit"] = flop / limit
    return {
        "batch_size": batch_size,
        "num_threads": torch.get_num_threads(),
        "steps_per_round": num_steps,
        "rounds": rounds,
        "matrix_limit_gflops": limit / 1e9,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if given.serve:
        serve(loop(given.serve, given.batch_sizes[0]))
        return
    documents = [
        measure(size, given.steps, given.rounds, given.peers) for size in given.batch_sizes
    ]
    print(json.dumps({"lenet5": documents}))


if __name__ == "__main__":
    main()
