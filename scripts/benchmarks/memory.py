"""Peak memory of a training step of every experiment, each in a process of its own."""

import json
import resource
import subprocess
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiment"
STAND_IN = (
    "dataset=synthetic",
    "dataset.image_size_pixels=256",
    "dataset.num_classes=1000",
    "dataset.num_train=1200",
    "dataset.num_test=1000",
)
"""For sets that are not on this machine: made-up images of ImageNet's stored size."""


def measure(experiment: str) -> str:
    """Return the peak memory of this process after one update, in words."""
    from work import our_parts

    from cnnlab.errors import DataError
    from cnnlab.training.loop import TrainState, fit

    settings, images = [f"experiment={experiment}", "runtime.device=cpu"], "its own images"
    try:
        parts = our_parts(*settings)
    except DataError:
        if not experiment.startswith("alexnet"):
            raise
        parts, images = our_parts(*settings, *STAND_IN), "made-up images"
    state = TrainState(parts.network, parts.optimizer)
    fit(state, parts.batches(), parts.step, parts.schedule.rate_at, [], 1)
    parts.latch.check(state)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{peak:,.0f} MiB, batch {parts.config.trainer.batch_size}, {images}"


def main() -> None:
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
        return
    found = {}
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        command = [sys.executable, __file__, path.stem]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        said = answer.stdout.strip().splitlines() or answer.stderr.strip().splitlines() or ["?"]
        failed = "not measured: " if answer.returncode else ""
        found[path.stem] = failed + said[-1].strip()
    print(json.dumps({"memory": found}))


if __name__ == "__main__":
    main()
