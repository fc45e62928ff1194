"""From the command to the first update: `cnnlab train` against torch and LeNet-5 by hand."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def by_hand() -> float:
    """Return the seconds of a process that imports torch, builds LeNet-5 and updates it once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BY_HAND], check=True)
    return time.perf_counter() - started


def cnnlab(timeout_seconds: float = 120) -> float:
    """Return the seconds until the figures of the first update stand in the run's metrics file."""
    folder = Path(tempfile.mkdtemp(prefix="cnnlab-startup-")) / "run"
    words = ["train", f"hydra.run.dir={folder}", "trainer.epochs=1", "trainer.log_every_steps=1"]
    words += ["trainer.limit_train_batches=1", "logging.report=false", "logging.progress=false"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cnnlab", *words], stdout=subprocess.DEVNULL)
    metrics = folder / "metrics.jsonl"
    while not (metrics.is_file() and metrics.stat().st_size):
        if process.poll() not in (None, 0) or time.perf_counter() - started > timeout_seconds:
            raise RuntimeError("cnnlab train wrote no figures")
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    process.wait()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    by_hand(), cnnlab()  # files into the page cache
    pairs = [(by_hand(), cnnlab()) for _ in range(given.rounds)]
    ratios = [ours / theirs for theirs, ours in pairs]
    document = {
        "by_hand_seconds": statistics.median(theirs for theirs, _ in pairs),
        "cnnlab_seconds": statistics.median(ours for _, ours in pairs),
        "ratio": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
    }
    print(json.dumps({"startup": document}))


if __name__ == "__main__":
    main()
