"""Five LeNets from one command: in parallel with one thread each, against one after another.

    python scripts/benchmarks/ensemble.py [--pairs 3] [--epochs 3] [--members 5]

Both are whole commands on Fashion-MNIST, the start of their processes included; the runs one after
another have two threads each. Pairs are interleaved. The first network is compared bit by bit with
a run of its seed on one thread, so that the faster way is known to compute the same.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import torch
from head import in_words, machine, options, spread, train_command, turns

from cnnlab import checkpoint

COMMON = (
    "dataset=fashion_mnist",
    "logging.report=false",
    "logging.tensorboard=false",
    "runtime.device=cpu",
    "saving.every_epochs=null",
)
PARALLEL, SEQUENTIAL = "side by side", "in turn, two threads"
WAYS = {PARALLEL: (), SEQUENTIAL: ("ensemble.at_once=1", "runtime.num_threads=2")}


def train(folder: Path, *words: str) -> float:
    """Run one training command; return its seconds."""
    start = time.perf_counter()
    command = train_command(folder, *COMMON, *words)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's last checkpoint."""
    content = checkpoint.read(run / "checkpoints" / "last.safetensors")
    return checkpoint.section(content.tensors, "model.")


def same(a: Path, b: Path) -> bool:
    """Return whether the last weights of two runs are bit-identical."""
    first, second = weights_of(a), weights_of(b)
    return all(torch.equal(first[name], second[name]) for name in first)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--members", type=int, default=5)
    given = parser.parse_args()
    size = [f"ensemble.members={given.members}", f"trainer.epochs={given.epochs}"]
    facts = machine()
    print(f"{facts['processor']}; torch {facts['torch']}; {' '.join(size)}", flush=True)

    ratios = []
    with tempfile.TemporaryDirectory() as home:
        for pair, names in enumerate(turns(WAYS, given.pairs)):
            found = {n: train(Path(home) / f"{n}_{pair}", *size, *WAYS[n]) for n in names}
            ratios.append(found[SEQUENTIAL] / found[PARALLEL])
            shown = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items())
            print(f"{shown}: {ratios[-1]:.2f}", flush=True)

        alone = Path(home) / "alone"
        train(alone, f"trainer.epochs={given.epochs}", "seed=1", "runtime.num_threads=1")
        member = Path(home) / f"{PARALLEL}_0" / "members" / "01_seed1"
        print(f"member 1 equals the single run of its seed: {same(member, alone)}")

    print(f"side by side, speed-up over in turn: {in_words(spread(ratios))}")


if __name__ == "__main__":
    main()
