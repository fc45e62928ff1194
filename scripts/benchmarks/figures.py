"""Train the networks of the papers on two real datasets, three seeds each: the table of figures.

    python scripts/benchmarks/figures.py                          # all networks, seeds 0, 1, 2
    python scripts/benchmarks/figures.py --networks zfnet --sets mnist5k --seeds 0

Each run is an ordinary `cnnlab train` with the words of FIGURES, tested once, at its end, with the
weights of the best validation error. Writes docs/results/<date>-figures-<hardware>.json after every
run and the table of docs/papers.md at the end. Finished runs are not repeated, so the command may
be interrupted and started again; --results names the file to continue on another day.

A figure, three seeds of one network on one dataset, takes under 30 minutes on one idle core.
"""

import argparse
import datetime
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import figures_page
import page
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

from cnnlab.run_folder.provenance import describe

Words = tuple[str, ...]

TEXTBOOK = ("model=lenet5", "model.activation=sigmoid", "model.pooling=average")


def narrow(model: str) -> dict[str, Words]:
    """Return the words of an AlexNet at a quarter of its width, by dataset, with 64 pixels.

    On clothes they are those of `experiment=alexnet_laptop`; digits are not mirrored.
    """
    clothes = ("experiment=alexnet_laptop", f"model={model}")
    digits = ("dataset=mnist5k", "augment=crop", "evaluation=center", "trainer.epochs=20")
    return {"mnist5k": (*clothes, *digits), "fashion_mnist": clothes}


def cifar(*model: str) -> dict[str, Words]:
    """Return the words of a network made for CIFAR-10, by dataset, with 32 pixels."""
    return {
        "mnist5k": (*model, "trainer.epochs=20"),
        "fashion_mnist": (
            *model,
            "dataset=fashion_mnist",
            "augment=crop_mirror",
            "trainer.epochs=3",
        ),
    }


FIGURES: dict[str, dict[str, Words]] = {
    "lenet5": {
        "mnist5k": ("experiment=quickstart",),
        "fashion_mnist": ("experiment=lenet5_fashion",),
    },
    "lenet5, sigmoid, average": {
        "mnist5k": (*TEXTBOOK, "trainer.epochs=20"),
        "fashion_mnist": (*TEXTBOOK, "dataset=fashion_mnist", "trainer.epochs=15"),
    },
    "lenet5_1998": {
        "mnist5k": ("experiment=lenet5_1998",),
        "fashion_mnist": ("experiment=lenet5_1998", "dataset=fashion_mnist", "trainer.epochs=3"),
    },
    **{
        f"{model}, width 0.25": narrow(model)
        for model in ("alexnet", "alexnet_two_tower", "alexnet_2014", "zfnet")
    },
    "alexnet_cifar, width 0.25": cifar("model=alexnet_cifar", "model.width=0.25"),
    "cifar_13pct": cifar("model=cifar_13pct"),
}
"""Network -> dataset -> the words of `cnnlab train`."""

SETS = ("mnist5k", "fashion_mnist")


def main() -> int:
    given = read_arguments()
    path: Path = given.results
    document = read_json(path) or {"rows": []}
    rows: list[dict[str, Any]] = document["rows"]

    for seed in given.seeds:
        for network in given.networks:
            for images in given.sets:
                if any(is_about(row, network, images, seed) for row in rows):
                    continue
                rows.append(trained(network, images, seed, given.threads))
                print(figures_page.line(rows[-1]), file=sys.stderr, flush=True)
                document["machine"] = machine()
                write_json(path, document)

    known = [row for row in rows if row["network"] in FIGURES and row["set"] in SETS]
    if known and not given.no_page:
        lines = figures_page.render(document["machine"], known, path.name)
        page.put_between("figures", lines, DOCS / "papers.md")
    return 0


def read_arguments() -> argparse.Namespace:
    parser = options(__doc__, threads=True)
    today = DOCS / "results" / f"{datetime.date.today()}-figures-{hardware()}.json"
    networks = list(FIGURES)

    parser.add_argument("--networks", nargs="+", default=networks, choices=networks, metavar="NAME")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, metavar="SET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=today, help="JSON to write and to continue")
    parser.add_argument("--no-page", action="store_true", help="leave docs/papers.md as it is")
    return parser.parse_args()


def is_about(row: dict[str, Any], network: str, images: str, seed: int) -> bool:
    """Return whether a row is the result of this network, dataset and seed with today's words."""
    same = (row["network"], row["set"], row["seed"]) == (network, images, seed)
    return same and tuple(row["words"]) == FIGURES[network][images]


def trained(network: str, images: str, seed: int, threads: int) -> dict[str, Any]:
    """Train one network in a process and a folder of its own; return its row of the results.

    A run that fails or is interrupted ends this command, with the run's exit code.
    """
    folder = scratch_run("figures")
    words = [*FIGURES[network][images], f"seed={seed}", f"runtime.num_threads={threads}"]
    command = train_command(folder, *words, "logging.report=false", "logging.tensorboard=false")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{network} on {images}: {done.stderr}", file=sys.stderr)
            sys.exit(done.returncode)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "network": network,
            "set": images,
            "seed": seed,
            "words": FIGURES[network][images],
            "threads": threads,
            "revision": describe()["git"],
            "processor_seconds": round(
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
            ),
            **outcome(folder),
        }
    finally:
        shutil.rmtree(folder.parent)


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a finished run found: its errors, its epochs and its wall-clock seconds."""
    run = json.loads((folder / "run.json").read_text())
    started, ended = (datetime.datetime.fromisoformat(run[key]) for key in ("started", "ended"))
    validation = [row for row in metrics(folder) if "validation/top1_error" in row]
    return {
        "test_error": run["test_error"],
        "validation_error": min(row["validation/top1_error"] for row in validation),
        "epochs": yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["epochs"],
        "ended": run["ended"],
        "seconds": round((ended - started).total_seconds(), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
