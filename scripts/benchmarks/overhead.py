"""What the framework costs: LeNet-5 behind `cnnlab train` and its step bare, in one process."""

import json
import statistics
from typing import Any

import lenet
import ours
from timing import ratio_of_pairs, rounds_and_threads, times_in_turns
from work import our_parts

STEPS = 20
"""Steps of a turn: figures are written every ten."""


def measure(batch_size: int, rounds: int) -> dict[str, Any]:
    """Return microseconds a step of both, and cnnlab / bare over pairs of turns."""
    settings = (*lenet.SETTINGS, f"trainer.batch_size={batch_size}")
    whole, bare = ours.whole_training(our_parts(*settings)), ours.bare_step(our_parts(*settings))
    times = times_in_turns({"cnnlab": lambda: whole(STEPS), "bare": lambda: bare(STEPS)}, rounds, 1)
    return {
        "batch_size": batch_size,
        **{name: statistics.median(found) / STEPS for name, found in times.items()},
        "ratio": ratio_of_pairs(times["cnnlab"], times["bare"]),
    }


def main() -> None:
    given = rounds_and_threads(__doc__, 100)
    rows = [measure(size, given.rounds) for size in (64, 128)]
    found = {"num_threads": given.threads, "rounds": given.rounds, "rows": rows}
    print(json.dumps({"overhead": found}))


if __name__ == "__main__":
    main()
