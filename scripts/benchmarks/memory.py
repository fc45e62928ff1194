"""Peak memory of a training step of every experiment, each in a process of its own."""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from head import answer, options

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiment"
IMAGENET = (
    "dataset=synthetic",
    "dataset.image_size_pixels=256",
    "dataset.normalize=pixel",
    "dataset.num_classes=1000",
    "dataset.num_train=1200",
    "dataset.num_test=1000",
)
DIGITS = (
    "dataset=synthetic",
    "dataset.pad_pixels=2",
    "dataset.channels=1",
    "dataset.num_train=60000",
    "dataset.num_test=10000",
)
SIGNS = (
    "dataset=synthetic",
    "dataset.num_classes=43",
    "dataset.num_train=39209",
    "dataset.num_test=12630",
)
STAND_INS = {"lenet5_mnist": DIGITS, "lenet5_gtsrb": SIGNS}
"""Made-up images for datasets that are not on this machine: as many as the real one has, of the
size in which they are stored; 1,200 for ImageNet, which training does not hold in memory."""

ONE_MACHINE = {"alexnet_two_gpu_imagenet": ("model.devices=[cpu,cpu]",)}


def measure(experiment: str) -> str:
    """Return the peak memory of this process after one update, as a cell of the table."""
    # Imported here: the process that starts the others must stay small (head.py says why).
    from work import our_parts

    from cnnlab.errors import DataError
    from cnnlab.training.loop import TrainState, fit

    settings = [f"experiment={experiment}", "runtime.device=cpu", *ONE_MACHINE.get(experiment, ())]
    images = "its own images"
    try:
        parts = our_parts(*settings)
    except DataError:
        made_up = STAND_INS.get(experiment, IMAGENET)
        parts, images = our_parts(*settings, *made_up), "made-up images"

    state = TrainState(parts.network, parts.optimizer)
    fit(state, parts.batches(), parts.step, parts.schedule.rate_at, [], 1)
    parts.guard.check(state)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{peak:,.0f} MiB, batch {parts.config.trainer.batch_size}, {images}"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("experiments", nargs="*", help="default: all")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(measure(given.experiments[0]))
        return

    found = {}
    for name in given.experiments or sorted(path.stem for path in EXPERIMENTS.glob("*.yaml")):
        command = [sys.executable, __file__, "--here", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["?"]
        failed = "not measured: " if done.returncode else ""
        found[name] = failed + said[-1].strip()
        print(name, found[name], file=sys.stderr, flush=True)
    answer("memory", found)


if __name__ == "__main__":
    main()
