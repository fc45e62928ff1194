"""LeNet-5 on Fashion-MNIST: cnnlab, its bare step, and the peers, in one interleaved run."""

import argparse
import importlib.util
import logging
import warnings
from collections.abc import Callable
from typing import Any

import ours
import peers
import torch
from head import answer, options, parse
from serving import serve, start
from timing import compared_loops
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


def loop(name: str, batch_size: int, threads: int, device: torch.device) -> Advance:
    """Build the loop called `name`; each starts from the same weights."""
    settings = (*SETTINGS, f"trainer.batch_size={batch_size}")
    if name in PEERS:
        parts = our_parts(*settings, device=device, configured=False)
        return PEERS[name](work_of(parts), textbook_lenet5)

    chooses = ours.chooses_threads(name, threads, device)
    parts = our_parts(*settings, device=device, chooses_threads=chooses)
    return ours.bare_step(parts) if name == ours.BARE else ours.whole_training(parts)


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
"""What a peer imports; a peer whose package is not installed is left out."""


def installed(name: str) -> bool:
    """Return whether the peer's package can be imported."""
    return name not in PACKAGES or importlib.util.find_spec(PACKAGES[name]) is not None


def measure(batch_size: int, given: argparse.Namespace) -> dict[str, Any]:
    """Return the rows of one batch size as plain JSON."""
    same = ("--threads", str(given.threads), "--device", str(given.device))
    loops = {
        name: start(
            __file__,
            name,
            *("--batch-sizes", str(batch_size), *same),
            variables=ours.variables_of(name, given.threads, given.device),
        )
        for name in [
            *ours.rows(given.threads, given.device),
            ours.BARE,
            *filter(installed, given.peers),
        ]
    }
    return compared_loops(
        loops,
        batch_size=batch_size,
        flop_per_image=FLOP_PER_IMAGE,
        num_steps=given.steps,
        rounds=given.rounds,
        device=given.device,
    )


def main() -> None:
    parser = options(__doc__, rounds=15, threads=True, device=True)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--steps", type=int, default=60, help="per round")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parse(parser)

    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)

    if given.serve:
        serve(loop(given.serve, given.batch_sizes[0], given.threads, given.device))
        return
    answer("lenet5", [measure(size, given) for size in given.batch_sizes])


if __name__ == "__main__":
    main()
