"""Threads and ways of waiting, on an idle machine and beside busy loops.

    python scripts/benchmarks/busy.py                      # about eight minutes, prints JSON
    python scripts/benchmarks/run.py busy                  # also into docs/performance.md
    python scripts/benchmarks/busy.py --works "LeNet-5, 64" --seconds 2

Every setting is a process of its own, since the OpenMP library reads its variables once. All take
turns under each load: that many endless loops, one process each, run beside the work. Wall clock.

A setting's worst case for one kind of work is the smaller of its shares of the best rate, idle and
beside one loop. The choices of src/cnnlab/cpu/ are those with the best worst case here.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from head import answer, options, turns
from loops import busy_loops

Setting = tuple[bool, dict[str, str]]
"""Whether it has all threads, else one; the variables of its process."""

SETTINGS: dict[str, Setting] = {
    "one thread": (False, {}),
    "threads, library's waiting": (True, {}),
    "threads, PASSIVE": (True, {"OMP_WAIT_POLICY": "PASSIVE"}),
    "threads, spin 100": (True, {"GOMP_SPINCOUNT": "100"}),
    "threads, spin 300": (True, {"GOMP_SPINCOUNT": "300"}),
    "threads, spin 1,000": (True, {"GOMP_SPINCOUNT": "1000"}),
    "threads, spin 10,000": (True, {"GOMP_SPINCOUNT": "10000"}),
    "threads, spin 100,000": (True, {"GOMP_SPINCOUNT": "100000"}),
}
"""A spin count is the number of looks at a variable before the thread sleeps. Read by GNU's library
alone; OMP_WAIT_POLICY is part of OpenMP."""

ALEXNET = ("model=alexnet", "dataset.image_size_pixels=64", "trainer.batch_size=64")
NARROW = (*ALEXNET, "model.width=0.25")

WORKS: dict[str, tuple[tuple[str, ...], int]] = {
    "LeNet-5, 64": (("trainer.batch_size=64",), 1),
    "LeNet-5, 128": (("trainer.batch_size=128",), 1),
    "LeNet-5, 256": (("trainer.batch_size=256",), 1),
    "LeNet-5, 512": (("trainer.batch_size=512",), 1),
    "LeNet-5, evaluation": (("evaluate",), 1),
    "AlexNet at 64 pixels, quarter width, 64": (NARROW, 1),
    "AlexNet at 64 pixels, 64": (ALEXNET, 1),
    "two processes: LeNet-5, 64": (("trainer.batch_size=64",), 2),
    "two members: AlexNet, quarter width, 64": (NARROW, 2),
}
"""Name -> the words of a training and how many processes do it at once. `evaluate`: the center view
of the training images, in batches of 256."""

LOADS = (0, 1, 2, 4)


def build(words: Sequence[str]) -> Callable[[], int]:
    """Return what does some of a work, and returns how many images that were."""
    import ours
    from work import our_parts

    settings = [word for word in words if word != "evaluate"]
    parts = our_parts("dataset=mnist5k", "augment=none", "optimizer.learning_rate=0.01", *settings)
    if "evaluate" in words:
        store = parts.splits.train
        batches = parts.in_order(store)
        return lambda: (parts.evaluate(batches, "center"), len(store))[1]

    advance, size = ours.whole_training(parts), parts.config.trainer.batch_size
    at_once = 1 if parts.config.model.name == "alexnet" else 4

    def some_steps() -> int:
        advance(at_once)
        return at_once * size

    return some_steps


def serve() -> None:
    """Answer each line [words, seconds] on stdin with images per second of the wall clock."""
    works = functools.cache(build)
    for line in sys.stdin:
        words, seconds = json.loads(line)
        work, images, started = works(tuple(words)), 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds or not images:
            images += work()
        print(f"@{images / passed if passed else 0}", flush=True)


class Server:
    """A process with one setting that does any of the works."""

    def __init__(self, setting: Setting, threads: int) -> None:
        all_threads, variables = setting
        number = threads if all_threads else 1

        command = [sys.executable, str(Path(__file__)), "--serve", "--threads", str(number)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | variables,
        )

    def rate(self, words: Sequence[str], seconds: float) -> float:
        """Return images per second of a work that is done for so long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([words, seconds]), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("@"):
                return float(line[1:])
        raise RuntimeError("a benchmark process ended")

    def end(self) -> None:
        """End the process; it is between two works."""
        self._process.kill()
        self._process.wait()


def rate_of(servers: Sequence[Server], words: Sequence[str], seconds: float) -> float:
    """Return the images per second of all servers together, which work at the same time."""
    rates = [0.0] * len(servers)

    def ask(index: int) -> None:
        rates[index] = servers[index].rate(words, seconds)

    asking = [threading.Thread(target=ask, args=(index,)) for index in range(len(servers))]

    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    return sum(rates)


Rates = dict[str, dict[str, dict[int, list[float]]]]
"""Work -> setting -> busy loops -> images per second, round by round."""


def measure(given: argparse.Namespace) -> Rates:
    """Return the rates of all works, settings and loads."""
    most = max(WORKS[work][1] for work in given.works)
    servers = {
        name: [Server(SETTINGS[name], given.threads) for _ in range(most)]
        for name in given.settings
    }
    rates: Rates = {
        work: {name: {load: [] for load in given.loads} for name in servers} for work in given.works
    }
    try:
        for work in given.works:  # built, and their caches filled
            words, number = WORKS[work]
            for several in servers.values():
                rate_of(several[:number], words, 0)
                rate_of(several[:number], words, 0.2)

        for load in given.loads:
            with busy_loops(load):
                for work in given.works:
                    words, number = WORKS[work]
                    for order in turns(servers, given.rounds):
                        for name in order:
                            found = rate_of(servers[name][:number], words, given.seconds)
                            rates[work][name][load].append(found)
                    print(f"{load} busy loops, {work}", file=sys.stderr, flush=True)
    finally:
        for several in servers.values():
            for server in several:
                server.end()
    return rates


def worst_cases(rates: dict[str, dict[int, float]]) -> dict[str, float]:
    """Return each setting's smallest share of the best rate, over idle and one busy loop."""
    loads = [load for load in (0, 1) if all(load in row for row in rates.values())]
    best = {load: max(row[load] for row in rates.values()) for load in loads}
    return {
        name: min((row[load] / best[load] for load in loads), default=float("nan"))
        for name, row in rates.items()
    }


def document(rates: Rates, given: argparse.Namespace) -> dict[str, Any]:
    """Return the medians, the worst cases and every rate, as plain JSON."""
    works = {}
    for work, rows in rates.items():
        middle = {
            name: {load: statistics.median(found) for load, found in row.items()}
            for name, row in rows.items()
        }
        works[work] = {
            "images_per_second": middle,
            "worst_case": worst_cases(middle),
            "rounds": rows,
        }
    how = {"num_threads": given.threads, "rounds": given.rounds, "seconds": given.seconds}
    fed = [found["worst_case"] for work, found in works.items() if "AlexNet" in work]
    return {
        **how,
        "loads": list(given.loads),
        "works": works,
        "worst_of_alexnet": {name: min(row[name] for row in fed) for name in given.settings if fed},
    }


def main() -> None:
    parser = options(__doc__, rounds=2, threads=True)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each rate in each round")
    parser.add_argument("--loads", type=int, nargs="+", default=LOADS, help="busy loops beside it")
    parser.add_argument("--works", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)

    given = parser.parse_args()
    if given.serve:
        import torch

        torch.set_num_threads(given.threads)
        serve()
        return
    answer("busy", document(measure(given), given))


if __name__ == "__main__":
    main()
