"""From the command to 90 % of Fashion-MNIST's validation images right: `cnnlab train` and a peer.

Both evaluate after every epoch, on 5,000 validation images. The networks are the same, the recipes
are not: cnnlab trains with experiment=lenet5_fashion_fast, which was chosen on the validation
images of seeds 10, 11 and 12, the peer is the program of PyTorch's MNIST example
(example_program.py). So this compares recipe and speed together, not either of them alone.

With one thread the clock is the processor time of the process, with several wall-clock time.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from head import answer, metrics, options, ratios, scratch_run, spread, train_command

TARGET = 0.90
CLOTHES = Path("/usr/share/datasets/fashion-mnist")
HERE = Path(__file__).parent
Accuracies = Callable[[], list[float]]
TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """Seconds since a process started: processor time with one thread, else wall-clock time."""

    def __init__(self, process: subprocess.Popen[str], threads: int) -> None:
        self._process, self._threads, self._started = process, threads, time.perf_counter()

    def __call__(self) -> float:
        if self._threads > 1:
            return time.perf_counter() - self._started
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS


def cnnlab(seed: int, threads: int) -> dict[str, Any]:
    """Return seconds and epochs until the run's metrics file has the target accuracy."""
    folder = scratch_run("target")
    words = ["experiment=lenet5_fashion_fast", f"seed={seed}", f"runtime.num_threads={threads}"]
    command = train_command(folder, *words)
    return until(command, threads, lambda: validation_accuracies(folder))


def validation_accuracies(run: Path) -> list[float]:
    """Return the validation accuracy of each epoch so far."""
    errors = [row.get("validation/top1_error") for row in metrics(run)]
    return [1 - error for error in errors if error is not None]


def example(seed: int, threads: int) -> dict[str, Any]:
    """Return seconds and epochs until the example's program prints the target accuracy."""
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as said:
        script = str(HERE / "example_program.py")
        command = [sys.executable, script, str(CLOTHES), str(seed), str(threads)]

        def accuracies() -> list[float]:
            lines = Path(said.name).read_text().splitlines()
            return [float(line.split()[-1]) for line in lines if line.startswith("epoch")]

        return until(command, threads, accuracies, said.name)


def until(
    command: list[str], threads: int, accuracies: Accuracies, output: str = os.devnull
) -> dict[str, Any]:
    """Run `command` until one of its accuracies reaches the target, then kill it."""
    settings = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with open(output, "w") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.DEVNULL, text=True, env=settings
        )
    clock = Clock(process, threads)

    try:
        while not (found := accuracies()) or max(found) < TARGET:
            seconds = clock()
            if process.poll() is not None and max(accuracies(), default=0.0) < TARGET:
                return {"seconds": None, "epochs": None, "best": max(found, default=None)}
            time.sleep(0.02)
        # A process that is gone has no clock: then the last reading counts.
        seconds = clock() if process.poll() is None else seconds
        return {"seconds": seconds, "epochs": len(found), "best": max(found)}
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def main() -> None:
    parser = options(__doc__, threads=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given = parser.parse_args()

    runs: dict[str, list[dict[str, Any]]] = {"cnnlab": [], "example": []}
    for seed in given.seeds:
        for name, run in (("cnnlab", cnnlab), ("example", example)):
            runs[name].append(run(seed, given.threads))
            print(name, seed, runs[name][-1], file=sys.stderr, flush=True)

    document = {
        "accuracy": TARGET,
        "num_threads": given.threads,
        "seeds": given.seeds,
        "runs": runs,
        "ratio": ratio(runs),
    }
    answer("target", document)


def ratio(runs: dict[str, list[dict[str, Any]]]) -> dict[str, float] | None:
    """Return the spread of example / cnnlab; None when a run missed the target."""
    theirs, ours = ([run["seconds"] for run in runs[name]] for name in ("example", "cnnlab"))
    return None if None in [*theirs, *ours] else spread(ratios(theirs, ours))


if __name__ == "__main__":
    main()
