"""A training step of cnnlab as it is and through torch.compile, in turn; needs a C++ compiler."""

import json
import statistics
from typing import Any

import alexnet
import lenet
from timing import Action, rounds_and_threads, seconds, spread
from work import our_parts

from cnnlab.training.loop import TrainState

CASES = {  # (model, batch): (settings, steps of a round)
    ("lenet5", 64): (lenet.SETTINGS, 30),
    ("lenet5", 128): (lenet.SETTINGS, 30),
    ("alexnet", 32): (alexnet.SETTINGS, 1),
    ("alexnet_2014", 32): (alexnet.SETTINGS, 1),
}


def step(model: str, batch_size: int, settings: tuple[str, ...], compiled: bool) -> Action:
    """Return one update of training with or without `runtime.compile`."""
    switch = f"runtime.compile={compiled}"
    parts = our_parts(*settings, f"model={model}", f"trainer.batch_size={batch_size}", switch)
    state, batches = TrainState(parts.network.train(), parts.optimizer), parts.batches()

    def advance() -> None:
        parts.step(state, *next(batches))

    return advance


def measure(case: tuple[str, int], rounds: int) -> dict[str, Any]:
    """Return the seconds of compiling, milliseconds of both, and eager / compiled over rounds."""
    model, batch_size = case
    settings, repeats = CASES[case]
    eager, compiled = (step(model, batch_size, settings, choice) for choice in (False, True))
    seconds(eager, 2)
    compiling = 2 * seconds(compiled, 2)
    pairs = [(seconds(eager, repeats), seconds(compiled, repeats)) for _ in range(rounds)]
    return {
        "model": model,
        "batch_size": batch_size,
        "compiling_seconds": compiling,
        "eager": 1e3 * statistics.median(before for before, _ in pairs),
        "compiled": 1e3 * statistics.median(after for _, after in pairs),
        "ratio": spread([before / after for before, after in pairs]),
    }


def main() -> None:
    given = rounds_and_threads(__doc__, 9)
    rows = [measure(case, given.rounds) for case in CASES]
    found = {"num_threads": given.threads, "rounds": given.rounds, "rows": rows}
    print(json.dumps({"compiled": found}))


if __name__ == "__main__":
    main()
