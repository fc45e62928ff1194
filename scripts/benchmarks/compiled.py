"""A training step of cnnlab, eager and through torch.compile, in turns; needs a C++ compiler."""

import statistics
from typing import Any

import alexnet
import lenet
import torch
from head import answer, options, parse, ratios, spread, turns
from timing import Action, seconds
from work import our_parts

from cnnlab.training.loop import TrainState

CASES = {  # (model, batch size): (settings, steps per round)
    ("lenet5", 64): (lenet.SETTINGS, 30),
    ("lenet5", 128): (lenet.SETTINGS, 30),
    ("alexnet", 32): (alexnet.SETTINGS, 1),
    ("alexnet_2014", 32): (alexnet.SETTINGS, 1),
}


def step(case: tuple[str, int], compiled: bool, device: torch.device) -> Action:
    """Return one update of training with or without `runtime.compile`."""
    model, batch_size = case
    words = (f"model={model}", f"trainer.batch_size={batch_size}", f"runtime.compile={compiled}")
    parts = our_parts(*CASES[case][0], *words, device=device)
    state, batches = TrainState(parts.network.train(), parts.optimizer), parts.batches()

    def advance() -> None:
        parts.step(state, *next(batches))

    return advance


def measure(case: tuple[str, int], rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the seconds of compiling, milliseconds of both, and eager / compiled over rounds."""
    (model, batch_size), (_, repeats) = case, CASES[case]
    steps = {
        "eager": step(case, compiled=False, device=device),
        "compiled": step(case, compiled=True, device=device),
    }

    seconds(steps["eager"], 2, device)
    compiling = 2 * seconds(steps["compiled"], 2, device)  # the first steps compile

    times: dict[str, list[float]] = {name: [] for name in steps}
    for order in turns(steps, rounds):
        for name in order:
            times[name].append(seconds(steps[name], repeats, device))

    return {
        "model": model,
        "batch_size": batch_size,
        "compiling_seconds": compiling,
        **{name: 1e3 * statistics.median(found) for name, found in times.items()},
        "ratio": spread(ratios(times["eager"], times["compiled"])),
    }


def main() -> None:
    given = parse(options(__doc__, rounds=9, threads=True, device=True))
    rows = [measure(case, given.rounds, given.device) for case in CASES]
    how = {"device": str(given.device), "num_threads": given.threads, "rounds": given.rounds}
    answer("compiled", {**how, "rows": rows})


if __name__ == "__main__":
    main()
