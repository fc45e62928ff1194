"""From the command to the first update: `cnnlab train` against torch and LeNet-5 by hand."""

import statistics
import subprocess
import sys
import time

from head import answer, options, ratios, scratch_run, spread, train_command

BY_HAND = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
    nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
    nn.Linear(84, 10))
rule = torch.optim.SGD(net.parameters(), 0.1, 0.9)
nn.functional.cross_entropy(net(torch.randn(64, 1, 32, 32)), torch.arange(64) % 10).backward()
rule.step()
"""

ONE_UPDATE = ("trainer.epochs=1", "trainer.limit_train_batches=1", "trainer.log_every_steps=1")


def by_hand() -> float:
    """Return the seconds of a process that imports torch, builds LeNet-5 and updates it once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BY_HAND], check=True)
    return time.perf_counter() - started


def cnnlab(timeout_seconds: float = 120) -> float:
    """Return the seconds until the run has written the figures of its first update."""
    folder = scratch_run("startup")
    metrics = folder / "metrics.jsonl"
    command = train_command(folder, *ONE_UPDATE, "logging.report=false")

    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (metrics.is_file() and metrics.stat().st_size):
        if process.poll() not in (None, 0) or time.perf_counter() - started > timeout_seconds:
            raise RuntimeError("cnnlab train wrote no figures")
        time.sleep(0.002)
    seconds = time.perf_counter() - started

    process.wait()
    return seconds


def main() -> None:
    given = options(__doc__, rounds=7).parse_args()
    by_hand(), cnnlab()  # reads the files into the page cache
    pairs = [(by_hand(), cnnlab()) for _ in range(given.rounds)]
    theirs, ours = (list(times) for times in zip(*pairs, strict=True))
    found = {
        "by_hand_seconds": statistics.median(theirs),
        "cnnlab_seconds": statistics.median(ours),
        "ratio": spread(ratios(ours, theirs)),
    }
    answer("startup", found)


if __name__ == "__main__":
    main()
