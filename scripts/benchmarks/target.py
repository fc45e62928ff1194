"""From the command to 90 % of Fashion-MNIST's validation images right: `cnnlab train` and a peer.

Both evaluate after every epoch, on 5,000 images held out. The networks are the same, the recipes
are not: cnnlab trains with its own (one-cycle over EPOCHS epochs up to RATE, no augmentation; both
were chosen on the validation images of seeds 0 and 1), the peer is the program of PyTorch's MNIST
example (example_program.py). So this compares recipes and speed together, and is no statement about
either alone.

On one thread the clock is the processor time of the process, on several wall-clock time.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGET = 0.90
EPOCHS, RATE = 5, 0.06
CLOTHES = Path("/usr/share/datasets/fashion-mnist")
HERE = Path(__file__).parent
Accuracies = Callable[[], list[float]]
TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """Seconds since a process began: of processor time on one thread, else of wall-clock time."""

    def __init__(self, process: subprocess.Popen[str], threads: int) -> None:
        self._process, self._threads, self._started = process, threads, time.perf_counter()

    def __call__(self) -> float:
        if self._threads > 1:
            return time.perf_counter() - self._started
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS


def cnnlab(seed: int, threads: int) -> dict[str, Any]:
    """Return seconds and epochs until the run's own figures say that the target is reached."""
    folder = Path(tempfile.mkdtemp(prefix="cnnlab-target-")) / "run"
    words = ["train", "experiment=lenet5_fashion", "augment=none", f"seed={seed}"]
    words += [f"trainer.epochs={EPOCHS}", f"optimizer.learning_rate={RATE}"]
    words += [f"hydra.run.dir={folder}", f"runtime.num_threads={threads}", "logging.progress=false"]
    command = [sys.executable, "-m", "cnnlab", *words]
    return until(command, threads, lambda: errors_of(folder / "metrics.jsonl"))


def errors_of(metrics: Path) -> list[float]:
    """Return the validation accuracy of each epoch so far."""
    if not metrics.is_file():
        return []
    rows = [json.loads(line) for line in metrics.read_text().splitlines() if "top1_error" in line]
    found = [row.get("validation/top1_error") for row in rows]
    return [1 - error for error in found if error is not None]


def example(seed: int, threads: int) -> dict[str, Any]:
    """Return seconds and epochs until the example's program printed the target's accuracy."""
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
    """Run `command` until one of its accuracies reaches the target, then end it."""
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
        seconds = clock() if process.poll() is None else seconds
        return {"seconds": seconds, "epochs": len(found), "best": max(found)}
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
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
    }
    print(json.dumps({"target": document | {"ratio": ratio(runs)}}))


def ratio(runs: dict[str, list[dict[str, Any]]]) -> dict[str, float] | None:
    """Return median, least and largest of theirs over ours; None where a run missed the target."""
    pairs = [
        (theirs["seconds"], ours["seconds"])
        for ours, theirs in zip(runs["cnnlab"], runs["example"], strict=True)
    ]
    if any(None in pair for pair in pairs):
        return None
    ratios = [theirs / ours for theirs, ours in pairs]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


if __name__ == "__main__":
    main()
