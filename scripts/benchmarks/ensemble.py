"""Five LeNets by one command: side by side with one thread each, against one after another.

    python scripts/benchmarks/ensemble.py [--pairs 3] [--epochs 3] [--members 5]

Both are whole commands on Fashion-MNIST, the start of their processes included; the runs in turn
have two threads each. Pairs are interleaved; the networks of both are compared bit for bit with
what one thread gives, so that the faster way is known to compute the same.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from cnnlab import checkpoint
from cnnlab.runtime import processor_name

COMMON = (
    "dataset=fashion_mnist",
    "logging.report=false",
    "logging.tensorboard=false",
    "logging.progress=false",
    "runtime.device=cpu",
    "saving.every_epochs=null",
)
WAYS = {
    "side by side": (),
    "in turn, two threads": ("ensemble.at_once=1", "runtime.num_threads=2"),
}


def train(folder: Path, *words: str) -> float:
    """Run one training command; return its seconds."""
    command = [sys.executable, "-m", "cnnlab", "train", *COMMON, f"hydra.run.dir={folder}", *words]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a run ended with."""
    held = checkpoint.read(run / "checkpoints" / "last.safetensors")
    return checkpoint.section(held.tensors, "model.")


def same(a: Path, b: Path) -> bool:
    """Say whether two runs ended with the same bits."""
    first, second = weights_of(a), weights_of(b)
    return all(torch.equal(first[name], second[name]) for name in first)


def main() -> None:
    """Time the pairs and print each, then the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--members", type=int, default=5)
    arguments = parser.parse_args()
    size = [f"ensemble.members={arguments.members}", f"trainer.epochs={arguments.epochs}"]
    print(f"{processor_name()}; torch {torch.__version__}; {' '.join(size)}", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as home:
        for pair in range(arguments.pairs):
            names = list(WAYS) if pair % 2 == 0 else list(WAYS)[::-1]
            found = {
                name: train(Path(home) / f"{name}_{pair}", *size, *WAYS[name]) for name in names
            }
            ratios.append(found["in turn, two threads"] / found["side by side"])
            shown = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items())
            print(f"{shown}: {ratios[-1]:.2f}", flush=True)
        alone = Path(home) / "alone"
        train(alone, f"trainer.epochs={arguments.epochs}", "seed=1", "runtime.num_threads=1")
        member = Path(home) / "side by side_0" / "members" / "01_seed1"
        print(f"member 1 equals the single run of its seed: {same(member, alone)}")
    low, high = min(ratios), max(ratios)
    print(f"side by side is {statistics.median(ratios):.2f} x as fast ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
