"""Train every model on every dataset with its defaults, and fail if one stays at chance.

    python scripts/benchmarks/pairs.py                            # all pairs, seeds 0, 1, 2
    python scripts/benchmarks/pairs.py --models lenet5 linear --sets mnist5k --seeds 0

Each run is `cnnlab train model=M dataset=D seed=S` with its length and nothing else: this tests the
defaults. Writes docs/results/<date>-pairs-<hardware>.json after every run and the table of
docs/papers.md at the end. Finished runs are not repeated, so the command may be interrupted and
started again; --results names the file to continue on another day.

All runs take about an hour and a half on two idle cores, most of it for the two CIFAR networks,
alexnet_cifar, zfnet and the three AlexNets of full width, which train for fewer updates.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page
import pairs_page
import yaml
from head import (
    DOCS,
    hardware,
    machine,
    metrics,
    options,
    read_json,
    scratch_run,
    train_command,
    write_json,
)
from work import configure

from cnnlab.run_folder.provenance import describe


@dataclass(frozen=True)
class Network:
    """The words that choose a model. length: of its runs, as a multiple of --updates."""

    words: tuple[str, ...]
    length: float = 1.0


@dataclass(frozen=True)
class ImageSet:
    """The words that choose a dataset, its image side and its number of training images.

    length: of its runs, as a multiple of --updates.
    """

    words: tuple[str, ...]
    size_pixels: int
    num_train: int
    length: float = 1.0


NETWORKS = {
    **{
        name: Network((f"model={name}",))
        for name in ("linear", "mlp", "four_layer", "lenet5", "lenet5_1998")
    },
    "lenet5, sigmoid, average": Network(
        ("model=lenet5", "model.activation=sigmoid", "model.pooling=average"), length=3.0
    ),
    **{name: Network((f"model={name}",), length=2 / 3) for name in ("cifar_13pct", "cifar_11pct")},
    **{
        name: Network((f"model={name}",), length=1 / 3)
        for name in ("alexnet_cifar", "alexnet", "alexnet_two_tower", "alexnet_2014", "zfnet")
    },
}
"""All models but alexnet_two_gpu, which is the network of alexnet_two_tower on two devices.

The textbook LeNet leaves its first plateau late; a full-width AlexNet takes a second per update.
"""

SETS = {
    "mnist5k": ImageSet(("dataset=mnist5k",), 32, 3500),
    "fashion_mnist": ImageSet(("dataset=fashion_mnist",), 32, 55000),
    "synthetic 32": ImageSet(("dataset=synthetic",), 32, 1800, 1 / 3),
    "synthetic 64": ImageSet(
        ("dataset=synthetic", "dataset.image_size_pixels=64"), 64, 1800, 1 / 3
    ),
    "synthetic 96": ImageSet(
        ("dataset=synthetic", "dataset.image_size_pixels=96"), 96, 1800, 1 / 3
    ),
}
"""The color patterns of `synthetic` are learned in a third of the updates."""

BATCH_SIZE = 64


@dataclass(frozen=True)
class Pair:
    """One network on one dataset with one seed, and the number of its updates."""

    network: str
    images: str
    seed: int
    updates: int

    def size_pixels(self) -> int:
        """Return the side of the images that the network gets by default."""
        return int(configure(*self.choices()).dataset.image_size_pixels)

    def choices(self) -> list[str]:
        """Return the words that choose network, dataset and seed."""
        return [*NETWORKS[self.network].words, *SETS[self.images].words, f"seed={self.seed}"]

    def length(self) -> list[str]:
        """Return the words that make the run `updates` long, in epochs of equal length."""
        per_epoch = -(-SETS[self.images].num_train // BATCH_SIZE)
        epochs = -(-self.updates // per_epoch)
        limit = -(-self.updates // epochs)
        return [f"trainer.epochs={epochs}", f"trainer.limit_train_batches={limit}"]


def main() -> int:
    given = read_arguments()
    path: Path = given.results
    document = read_json(path) or {"rows": []}
    rows: list[dict[str, Any]] = document["rows"]
    done = [pair_of(row) for row in rows if row["error"] is not None]

    for pair in pairs(given):
        if pair in done:
            continue
        row = trained(pair, given.threads)
        print(pairs_page.line(row), file=sys.stderr, flush=True)
        rows[:] = [*(other for other in rows if pair_of(other) != pair), row]
        document["machine"] = machine()
        write_json(path, document)

    of_this_length = [row for row in rows if has_length(row, given.updates)]
    if not given.no_page and of_this_length:
        lines = pairs_page.render(document["machine"], of_this_length, list(SETS), path.name)
        page.put_between("pairs", lines, DOCS / "papers.md")
    return verdict(of_this_length)


def read_arguments() -> argparse.Namespace:
    parser = options(__doc__, threads=True)
    today = DOCS / "results" / f"{datetime.date.today()}-pairs-{hardware()}.json"
    networks, sets = list(NETWORKS), list(SETS)

    parser.add_argument("--models", nargs="+", default=networks, choices=networks, metavar="MODEL")
    parser.add_argument("--sets", nargs="+", default=sets, choices=sets, metavar="SET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=300, help="of most networks; some differ")
    parser.add_argument("--results", type=Path, default=today, help="JSON to write and to continue")
    parser.add_argument("--no-page", action="store_true", help="leave docs/papers.md as it is")
    return parser.parse_args()


def pairs(given: argparse.Namespace) -> list[Pair]:
    """Return the runs asked for, seed by seed, so that the first table is complete early.

    A dataset that the network's default enlarges to the size of another one is left out.
    """
    sizes = {(SETS[name].words[0], SETS[name].size_pixels) for name in SETS}
    found = []
    for seed in given.seeds:
        for network in given.models:
            for images in given.sets:
                pair = Pair(network, images, seed, updates_of(network, images, given.updates))
                size = pair.size_pixels()
                enlarged = size != SETS[images].size_pixels
                if not (enlarged and (SETS[images].words[0], size) in sizes):
                    found.append(pair)
    return found


def updates_of(network: str, images: str, updates: int) -> int:
    """Return how long a pair's run is when --updates is `updates`."""
    return round(updates * NETWORKS[network].length * SETS[images].length)


def has_length(row: dict[str, Any], updates: int) -> bool:
    """Return whether a row is of a present network and dataset and of the length asked for."""
    known = row["network"] in NETWORKS and row["set"] in SETS
    return known and row["updates"] == updates_of(row["network"], row["set"], updates)


def pair_of(row: dict[str, Any]) -> Pair:
    """Return the pair that a row of the results is about."""
    return Pair(row["network"], row["set"], row["seed"], row["updates"])


def trained(pair: Pair, threads: int) -> dict[str, Any]:
    """Train one pair in a process and a folder of its own; return its row of the results.

    Raises KeyboardInterrupt when the run was interrupted, so that nothing is recorded.
    """
    row: dict[str, Any] = {
        "network": pair.network,
        "set": pair.images,
        "seed": pair.seed,
        "updates": pair.updates,
        "size_of_set": SETS[pair.images].size_pixels,
        "revision": describe()["git"],
    }
    folder = scratch_run("pairs")
    words = [*pair.choices(), *pair.length(), f"runtime.num_threads={threads}"]
    command = train_command(folder, *words, "logging.report=false", "logging.tensorboard=false")

    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode in (130, 143, -2, -15):
            raise KeyboardInterrupt
        row["settings"] = resolved(folder / "config.yaml")
        if done.returncode:
            return row | {"error": None, "failure": done.stderr.strip()[-500:]}
        return row | outcome(folder)
    finally:
        shutil.rmtree(folder.parent)  # a full-width AlexNet leaves a gigabyte


def resolved(config: Path) -> dict[str, Any] | None:
    """Return the settings that the defaults gave a run; None if it ended before writing them."""
    if not config.is_file():
        return None
    plain = yaml.safe_load(config.read_text())
    return {
        "image_size_pixels": plain["dataset"]["image_size_pixels"],
        "initialization": plain["model"].get("initialization"),
        "optimizer": plain["optimizer"]["name"],
        "learning_rate": plain["optimizer"]["learning_rate"],
        "clip_gradient_norm": plain["trainer"]["clip_gradient_norm"],
    }


def outcome(folder: Path) -> dict[str, Any]:
    """Return the last validation error of a run, its real number of updates and its seconds."""
    last = [row for row in metrics(folder) if "validation/top1_error" in row][-1]
    run = json.loads((folder / "run.json").read_text())
    started, ended = (datetime.datetime.fromisoformat(run[key]) for key in ("started", "ended"))
    return {
        "error": last["validation/top1_error"],
        "steps": last["step"],
        "test_error": run["test_error"],
        "seconds": round((ended - started).total_seconds(), 1),
    }


def verdict(rows: list[dict[str, Any]]) -> int:
    """Print the pairs that stayed at chance; return the exit code, 1 if there is one."""
    bad = [row for row in rows if pairs_page.at_chance(row)]
    for row in bad:
        print(f"at chance: {pairs_page.line(row)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
