"""What crop, mirror and dropout each change for LeNet-5 on Fashion-MNIST, over several seeds.

Trains every variant with every seed through `cnnlab train`, one run folder each, and prints a
Markdown table of test errors. Finished runs are not repeated.
"""

import json
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from head import metrics, options, train_command

VARIANTS = {
    "nothing": ["augment=none"],
    "crop": ["augment=crop", "augment.padding_pixels=2"],
    "mirror": ["augment=crop_mirror", "augment.padding_pixels=0"],
    "crop and mirror": ["augment=crop_mirror", "augment.padding_pixels=2"],
    "dropout 0.5": ["augment=none", "model.dropout=0.5"],
}
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Number of seeds -> Student's t for a 95 % confidence interval of their mean."""


@dataclass(frozen=True)
class Outcome:
    """test_error: a fraction. train_loss: of the last epoch, augmented. test_loss: at the end."""

    test_error: float
    train_loss: float
    test_loss: float


def outcome(folder: Path, words: list[str], before: list[str]) -> Outcome:
    """Train unless `folder` has a finished run; return its last figures."""
    if not _is_finished(folder):
        words = ["experiment=lenet5_fashion", *words, "logging.report=false"]
        command = [*before, *train_command(folder, *words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    facts: dict[str, float] = {}
    for row in metrics(folder):
        facts |= row  # keeps the last value of each
    return Outcome(facts["test/top1_error"], facts["train/loss"], facts["test/loss"])


def _is_finished(folder: Path) -> bool:
    try:
        return "test_error" in json.loads((folder / "run.json").read_text())
    except OSError:
        return False


def row(name: str, found: list[Outcome], nothing: list[Outcome]) -> str:
    """Return a row of the table: mean, paired difference from no augmentation, losses, errors."""
    errors, baseline = ([each.test_error for each in part] for part in (found, nothing))
    train, test = ([getattr(each, key) for each in found] for key in ("train_loss", "test_loss"))
    losses = f"{statistics.mean(train):.3f} | {statistics.mean(test):.3f}"
    gains = [error - base for error, base in zip(errors, baseline, strict=True)]
    singles = ", ".join(f"{100 * error:.2f}" for error in errors)
    gain = "" if name == "nothing" else _interval(gains, sign=True)
    return f"| {name} | {_interval(errors)} | {gain} | {losses} | {singles} |"


def _interval(values: list[float], sign: bool = False) -> str:
    half = T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.mean(values):{'+' if sign else ''}.2f} ± {100 * half:.2f}"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/augmentation_worth"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=1, help="trainings in parallel")
    parser.add_argument("--before", default="", help="a command to run each with, such as nice")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    given = parser.parse_args()

    def train(seed: int, name: str) -> Outcome:
        folder = given.folder / f"{name.replace(' ', '_')}_{seed}"
        settings = [*VARIANTS[name], f"seed={seed}", f"trainer.epochs={given.epochs}"]
        found = outcome(folder, settings, given.before.split())
        print(f"{name}, seed {seed}: {100 * found.test_error:.2f} %", flush=True)
        return found

    jobs = [(seed, name) for seed in given.seeds for name in VARIANTS]
    with ThreadPoolExecutor(given.at_once) as pool:
        done = dict(zip(jobs, pool.map(lambda job: train(*job), jobs), strict=True))

    results = {name: [done[seed, name] for seed in given.seeds] for name in VARIANTS}
    heads = ("LeNet-5 with", "test error, %", "against nothing", "training loss", "test loss")
    lines = [f"| {' | '.join(heads)} | by seed |", "|---" * 6 + "|"]
    lines += [row(name, found, results["nothing"]) for name, found in results.items()]
    print("\n".join(lines))
    if given.output:
        given.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
