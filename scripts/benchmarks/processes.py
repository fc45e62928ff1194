"""Two processes of one thread against one process of two threads, at one global batch, interleaved.

Each round starts both anew, warms up for one update and times the next ones by the wall clock.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor
from work import configure

from cnnlab import distributed, runtime
from cnnlab.distributed import Peers
from cnnlab.trainer.assemble import assemble
from cnnlab.training.loop import TrainState, fit

SETTINGS = (
    "dataset=synthetic",
    "dataset.num_validation=0",
    "augment=none",
    "schedule=constant",
    "optimizer.learning_rate=0.001",
    "model.dropout=0",
    "distributed.timeout_seconds=300",
)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
WAYS = {"one process, 2 threads": (1, 2), "two processes, 1 thread each": (2, 1)}
"""Processes, and threads of each."""


def train(words: argparse.Namespace, peers: Peers) -> dict[str, Any]:
    """Return seconds an update, bytes sent an update, and losses, of this process."""
    config = configure(
        *SETTINGS,
        f"model={words.model}",
        f"dataset.image_size_pixels={words.side}",
        f"dataset.num_train={words.batch_size * (words.num_steps + 1)}",
        f"trainer.batch_size={words.batch_size}",
    )
    sent = count_sums(peers)
    parts = assemble(config, torch.device("cpu"), peers)
    state, losses = TrainState(parts.network, parts.optimizer), []

    def advance(num_steps: int) -> float:
        started = time.perf_counter()
        fit(
            state,
            parts.batches(state.step),
            parts.step,
            parts.schedule.rate_at,
            [lambda state, report: losses.append(float(report.loss))],
            state.step + num_steps,
        )
        peers.largest(0)  # the slowest counts
        return (time.perf_counter() - started) / num_steps

    advance(1)
    num_bytes = sum(sent)
    return {
        "seconds": advance(words.num_steps),
        "bytes_an_update": num_bytes,
        "num_parameters": sum(p.numel() for p in parts.network.parameters()),
        "losses": losses,
    }


def count_sums(peers: Peers) -> list[int]:
    """Note the bytes of every sum of this process: of gradients, and of one number, the loss."""
    sent: list[int] = []
    start = peers.start_sum

    def noted(tensor: Tensor) -> Any:
        sent.append(tensor.numel() * tensor.element_size())
        return start(tensor)

    peers.start_sum = noted  # type: ignore[method-assign]
    return sent


def worker(words: argparse.Namespace) -> None:
    """Train as one of the processes; the first one prints what it found."""
    device = torch.device("cpu")
    runtime.configure(device, num_threads=words.worker)
    with distributed.joined(device, 300.0) as peers:
        found = train(words, peers)
        if peers.is_first:
            print(json.dumps(found), flush=True)


def started(way: str, arguments: list[str]) -> dict[str, Any]:
    """Start one way of training and return what it printed."""
    num_processes, num_threads = WAYS[way]
    launcher = (*TORCHRUN, f"--nproc-per-node={num_processes}")
    command = [*(launcher if num_processes > 1 else (sys.executable,)), __file__, *arguments]
    done = subprocess.run(
        [*command, f"--worker={num_threads}"],
        env={**os.environ, "OMP_NUM_THREADS": str(num_threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.worker:
        worker(words)
    else:
        compare(words)


def compare(words: argparse.Namespace) -> None:
    """Time both ways in turn and print what was found."""
    rounds = []
    for index in range(words.rounds):
        ways = list(WAYS) if index % 2 == 0 else list(WAYS)[::-1]
        rounds.append({way: started(way, sys.argv[1:]) for way in ways})
        print({way: f"{found['seconds']:.2f} s" for way, found in rounds[-1].items()}, flush=True)
    one, two = WAYS
    ratios = [found[two]["seconds"] / found[one]["seconds"] for found in rounds]
    print(f"two processes / one: median {statistics.median(ratios):.3f}, all {ratios}")
    for way in WAYS:
        best = min(found[way]["seconds"] for found in rounds)
        rate = words.batch_size / best
        print(f"{way}: best {best:.2f} s an update, {rate:.1f} images/s")
    facts = rounds[0][two]
    print(f"sent: {facts['bytes_an_update']:,} bytes, {facts['num_parameters']:,} parameters")
    print("losses", rounds[0][one]["losses"][:3], facts["losses"][:3])


if __name__ == "__main__":
    main()
