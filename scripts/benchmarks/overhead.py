"""What the framework costs: LeNet-5 as `cnnlab train` runs it and its bare step, in one process."""

import statistics
from typing import Any

import lenet
import ours
import torch
from head import answer, options, parse, quartiles, ratios
from timing import Action, times_in_turns
from work import our_parts

STEPS = 20
"""Steps per turn: figures are written every ten."""


def measure(batch_size: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return microseconds per step of both, and cnnlab / bare over pairs of turns."""
    settings = (*lenet.SETTINGS, f"trainer.batch_size={batch_size}")
    whole = ours.whole_training(our_parts(*settings, device=device))
    bare = ours.bare_step(our_parts(*settings, device=device))
    loops: dict[str, Action] = {"cnnlab": lambda: whole(STEPS), "bare": lambda: bare(STEPS)}
    times = times_in_turns(loops, rounds, 1, device)
    return {
        "batch_size": batch_size,
        **{name: statistics.median(found) / STEPS for name, found in times.items()},
        "ratio": quartiles(ratios(times["cnnlab"], times["bare"])),
    }


def main() -> None:
    given = parse(options(__doc__, rounds=100, threads=True, device=True))
    rows = [measure(size, given.rounds, given.device) for size in (64, 128)]
    how = {"device": str(given.device), "num_threads": given.threads, "rounds": given.rounds}
    answer("overhead", {**how, "rows": rows})


if __name__ == "__main__":
    main()
