"""What the framework costs: LeNet-5 as `cnnlab train` runs it and its bare step, in one process."""

import statistics
from typing import Any

import lenet
import ours
from head import answer, options, parse, quartiles, ratios
from timing import times_in_turns
from work import our_parts

STEPS = 20
"""Steps per turn: figures are written every ten."""


def measure(batch_size: int, rounds: int) -> dict[str, Any]:
    """Return microseconds per step of both, and cnnlab / bare over pairs of turns."""
    settings = (*lenet.SETTINGS, f"trainer.batch_size={batch_size}")
    whole, bare = ours.whole_training(our_parts(*settings)), ours.bare_step(our_parts(*settings))
    times = times_in_turns({"cnnlab": lambda: whole(STEPS), "bare": lambda: bare(STEPS)}, rounds, 1)
    return {
        "batch_size": batch_size,
        **{name: statistics.median(found) / STEPS for name, found in times.items()},
        "ratio": quartiles(ratios(times["cnnlab"], times["bare"])),
    }


def main() -> None:
    given = parse(options(__doc__, rounds=100, threads=True))
    rows = [measure(size, given.rounds) for size in (64, 128)]
    answer("overhead", {"num_threads": given.threads, "rounds": given.rounds, "rows": rows})


if __name__ == "__main__":
    main()
