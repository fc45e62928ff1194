"""Print what one training step asks of a CUDA device that is not there, for each network.

    python -m tests.pretended.figures            # all of them, some minutes
    python -m tests.pretended.figures lenet5     # some

Kernels, waits, blocking copies and races of the device that device.py pretends: counts, not times.
"""

import sys

from cnnlab.training.captured import NUM_EAGER
from tests.pretended.device import pretended
from tests.pretended.record import BLOCKING_COPY, KERNEL, MIX, RACE, WAIT
from tests.pretended.runs import CASES, Training
from tests.pretended.test_budgets import RUNS

STEADY = ("schedule=constant", "trainer.limit_train_batches=9")
CAPTURED = {
    "lenet5 with dropout, captured": (*CASES["lenet5 with dropout"], *STEADY),
    "narrow alexnet, captured, update in one pass": (
        *CASES["narrow alexnet"],
        *STEADY,
        "runtime.fused_update=true",
    ),
}
KINDS = (KERNEL, WAIT, BLOCKING_COPY, RACE, MIX)


def figures(words: tuple[str, ...], num_before: int) -> list[int]:
    """Return the events of each kind in one step, after `num_before` others."""
    with pretended() as record:
        run = Training.start(words, "cuda:0")
        run.train(num_before)
        record.clear()
        run.train(1)
        counts = record.counts()
    return [counts[kind] for kind in KINDS]


def main(names: list[str]) -> None:
    runs = {name: ((*words, "trainer.limit_train_batches=9"), 1) for name, words in RUNS.items()}
    for name, words in CAPTURED.items():  # once its gradients and its update are replayed
        runs[name] = ((*words, "runtime.capture=true"), 2 * NUM_EAGER + 1)

    print(
        f"{'a training step':<46}{'kernels':>8}{'waits':>7}{'blocking':>10}{'races':>7}{'mixes':>7}"
    )
    for name in names or runs:
        numbers = figures(*runs[name])
        cells = zip(numbers, (8, 7, 10, 7, 7), strict=True)
        print(f"{name:<46}" + "".join(f"{number:>{width}}" for number, width in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
