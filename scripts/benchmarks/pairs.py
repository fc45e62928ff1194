"""Train every model on every set with nothing but their names, and fail if one stays at chance.

    python scripts/benchmarks/pairs.py                            # all pairs, seeds 0, 1, 2
    python scripts/benchmarks/pairs.py --models lenet5 linear --sets mnist5k --seeds 0

Each run is `cnnlab train model=M dataset=D seed=S` with the length and nothing else: what is
measured is the defaults. Writes docs/results/<date>-pairs-<hardware>.json after every run and the
table of docs/papers.md at the end. Runs that ended are not repeated, so the command may be stopped
and started again; --results names the file to continue on another day.

On two idle cores the whole takes about an hour and a half, most of it for the two CIFAR nets,
alexnet_cifar and the three AlexNets of full width, which are trained for fewer updates.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page
import pairs_page
import yaml
from run import DOCS, hardware, machine
from work import configure

from cnnlab.run_folder.provenance import describe


@dataclass(frozen=True)
class Network:
    """A model as it is typed. length: of its runs, as a multiple of --updates."""

    words: tuple[str, ...]
    length: float = 1.0


@dataclass(frozen=True)
class ImageSet:
    """A set as it is typed, with the size and the number of training images that it then has.

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
        for name in ("alexnet_cifar", "alexnet", "alexnet_two_tower", "alexnet_2014")
    },
}
"""All models but alexnet_two_gpu: the network of alexnet_two_tower, on devices that are not here.

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
"""The patterns of `synthetic` are in color, and learned in a third of the updates."""

BATCH_SIZE = 64


@dataclass(frozen=True)
class Pair:
    """One network on one set with one seed, for so many updates."""

    network: str
    images: str
    seed: int
    updates: int

    def size_pixels(self) -> int:
        """Return the side of the images that the network gets by default."""
        return int(configure(*self.choices()).dataset.image_size_pixels)

    def choices(self) -> list[str]:
        """Return the words that choose network, set and seed."""
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
    document = json.loads(path.read_text()) if path.is_file() else {"rows": []}
    rows: list[dict[str, Any]] = document["rows"]
    done = [pair_of(row) for row in rows if row["error"] is not None]

    for pair in pairs(given):
        if pair in done:
            continue
        row = trained(pair, given.threads)
        print(pairs_page.line(row), file=sys.stderr, flush=True)
        rows[:] = [*(other for other in rows if pair_of(other) != pair), row]
        document["machine"] = machine()
        write(path, document)

    of_this_length = [row for row in rows if has_length(row, given.updates)]
    if not given.no_page and of_this_length:
        lines = pairs_page.render(document["machine"], of_this_length, list(SETS), path.name)
        page.put_between("pairs", lines, DOCS / "papers.md")
    return verdict(of_this_length)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    today = DOCS / "results" / f"{datetime.date.today()}-pairs-{hardware()}.json"
    networks, sets = list(NETWORKS), list(SETS)
    parser.add_argument("--models", nargs="+", default=networks, choices=networks, metavar="MODEL")
    parser.add_argument("--sets", nargs="+", default=sets, choices=sets, metavar="SET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=300, help="of most networks; some differ")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, default=today, help="JSON to write and to continue")
    parser.add_argument("--no-page", action="store_true", help="leave docs/papers.md as it is")
    return parser.parse_args()


def pairs(given: argparse.Namespace) -> list[Pair]:
    """Return the runs asked for, seed by seed, so that a first table is there early.

    A set that the network's default enlarges to another one's size is left out: it is that other.
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
    """Return whether a row is of the networks and sets of today and of the length asked for."""
    known = row["network"] in NETWORKS and row["set"] in SETS
    return known and row["updates"] == updates_of(row["network"], row["set"], updates)


def pair_of(row: dict[str, Any]) -> Pair:
    """Return the pair that a row of the results is about."""
    return Pair(row["network"], row["set"], row["seed"], row["updates"])


def trained(pair: Pair, threads: int) -> dict[str, Any]:
    """Train one pair in a process and a folder of its own; return what came of it.

    Raises KeyboardInterrupt when the run was interrupted: there is nothing to record then.
    """
    row: dict[str, Any] = {
        "network": pair.network,
        "set": pair.images,
        "seed": pair.seed,
        "updates": pair.updates,
        "size_of_set": SETS[pair.images].size_pixels,
        "revision": describe()["git"],
    }
    folder = Path(tempfile.mkdtemp(prefix="cnnlab-pairs-")) / "run"
    words = [*pair.choices(), *pair.length(), f"runtime.num_threads={threads}"]
    words += [f"hydra.run.dir={folder}", "logging.report=false", "logging.tensorboard=false"]
    command = [sys.executable, "-m", "cnnlab", "train", *words, "logging.progress=false"]

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
    """Return what the defaults came to in a run, or None where it ended before it had a config."""
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
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "validation/top1_error" in line][-1]
    run = json.loads((folder / "run.json").read_text())
    started, ended = (datetime.datetime.fromisoformat(run[key]) for key in ("started", "ended"))
    return {
        "error": last["validation/top1_error"],
        "steps": last["step"],
        "test_error": run["test_error"],
        "seconds": round((ended - started).total_seconds(), 1),
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the results; an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)


def verdict(rows: list[dict[str, Any]]) -> int:
    """Name the pairs that did not learn; return 1 if there is one."""
    bad = [row for row in rows if pairs_page.at_chance(row)]
    for row in bad:
        print(f"at chance: {pairs_page.line(row)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
