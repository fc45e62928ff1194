"""Two processes of one thread, by both schemes, against one process of two threads.

    python scripts/benchmarks/processes.py [--model alexnet] [--rounds 3] [--num-steps 3]

All have one global batch size. Each round starts new processes, warms up for one update and times
the following ones by the wall clock.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import torch
from head import in_words, options, ratios, spread, turns
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
TORCHRUN = (sys.executable, "-P", "-m", "torch.distributed.run", "--standalone")
WAYS = {
    "one process, 2 threads": (1, 2, "data"),
    "two processes, 1 thread each": (2, 1, "data"),
    "the same, hybrid": (2, 1, "hybrid"),
}
"""Number of processes, threads per process, and scheme."""


def train(given: argparse.Namespace, peers: Peers) -> dict[str, Any]:
    """Return seconds per update, bytes sent per update, and losses, of this process."""
    config = configure(
        *SETTINGS,
        f"model={given.model}",
        f"dataset.image_size_pixels={given.side}",
        f"dataset.num_train={given.batch_size * (given.num_steps + 1)}",
        f"trainer.batch_size={given.batch_size}",
        f"distributed.scheme={given.scheme}",
    )

    parts = assemble(config, torch.device("cpu"), peers)
    state, losses = TrainState(parts.trained, parts.optimizer), []

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
        peers.largest(0)  # wait for the slowest process
        return (time.perf_counter() - started) / num_steps

    advance(1)  # warms up, and is the one update whose bytes are counted
    num_bytes = peers.num_bytes
    return {
        "seconds": advance(given.num_steps),
        "bytes_an_update": num_bytes,
        "num_parameters": sum(p.numel() for p in parts.network.parameters()),
        "kept": sum(p.numel() for p in parts.trained.parameters()),
        "losses": losses,
    }


def worker(given: argparse.Namespace) -> None:
    """Train as one of the processes; the first prints the figures as JSON."""
    device = torch.device("cpu")
    runtime.configure(device, num_threads=given.worker)
    with distributed.joined(device, 300.0) as peers:
        found = train(given, peers)
        if peers.is_first:
            print(json.dumps(found), flush=True)


def started(way: str, arguments: list[str]) -> dict[str, Any]:
    """Train in one of WAYS and return the figures it printed."""
    num_processes, num_threads, scheme = WAYS[way]
    launcher = (*TORCHRUN, f"--nproc-per-node={num_processes}")
    command = [*(launcher if num_processes > 1 else (sys.executable,)), __file__, *arguments]
    done = subprocess.run(
        [*command, f"--worker={num_threads}", f"--scheme={scheme}"],
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
    parser = options(__doc__, rounds=3)
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=3)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scheme", default="data", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given)
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Time all ways in turns and print the figures."""
    rounds = []
    for ways in turns(WAYS, given.rounds):
        rounds.append({way: started(way, sys.argv[1:]) for way in ways})
        print({way: f"{found['seconds']:.2f} s" for way, found in rounds[-1].items()}, flush=True)

    one, *others = WAYS
    seconds = {way: [found[way]["seconds"] for found in rounds] for way in WAYS}
    for way in others:
        found = spread(ratios(seconds[way], seconds[one]))
        print(f"{way} / one process, time per update: {in_words(found, digits=3)}")
    for way, times in seconds.items():
        best, facts = min(times), rounds[0][way]
        print(f"{way}: best {best:.2f} s per update, {given.batch_size / best:.1f} images/s")
        print(f"  sent: {facts['bytes_an_update']:,.0f} bytes an update", end="; ")
        print(f"trained here: {facts['kept']:,} of {facts['num_parameters']:,} parameters")
        print("  losses", facts["losses"][:3])


if __name__ == "__main__":
    main()
