"""Whole runs, stopped in every way and resumed: they must equal the uninterrupted run."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnnlab.errors import CnnlabError
from cnnlab.run_folder import RunFolder, newest_checkpoint
from scripts.torture import command
from scripts.torture.command import Outcome

SHORT = (
    "train",
    "dataset=mnist5k",
    "model=lenet5",
    "model.dropout=0.2",
    "augment=crop",
    "schedule=plateau",
    "trainer.clip_gradient_norm=1.0",
    "trainer.log_every_steps=1",
    "trainer.batch_size=16",
    "trainer.accumulate=2",
    "runtime.device=cpu",
    "runtime.num_threads=1",
    "logging.progress=false",
    "logging.report=false",
    "logging.images_every_epochs=null",
)
"""A run with all that a resume must restore: momentum, plateau, dropout, crops, accumulation."""

STEPS_24 = (
    "trainer.epochs=3",
    "trainer.limit_train_batches=8",
    "saving.every_steps=1",
    "saving.keep=1000",
    "logging.tensorboard=false",
)
LONGER = (
    "trainer.epochs=5",
    "trainer.batch_size=64",
    "trainer.limit_train_batches=40",
    "saving.every_steps=7",
    "schedule=one_cycle",
)
PATIENCE_SECONDS = 600
STOP_SECONDS = 10
Run = Callable[..., Outcome]


def resume_from_each_step(
    base: Path, run: Run, steps: list[int], settings: Sequence[str] = (*SHORT, *STEPS_24)
) -> dict[str, Any]:
    """Resume a 24-step run from each of `steps`; count those that end bit-identical.

    The uninterrupted run is `base`/whole, trained here unless it exists.
    """
    whole = base / "whole"
    if not whole.exists():
        _expect_done(run(*settings, f"hydra.run.dir={whole}"))

    identical, differing = 0, {}
    for step in steps:
        folder = base / f"from_{step}"
        shutil.copytree(whole, folder)
        RunFolder(folder).update_status(status="interrupted")
        file = RunFolder(folder).checkpoint_file(step)

        outcome = run("train", f"resume={file}")
        found = command.differences(whole, folder) if outcome.code == 0 else [outcome.errors]
        identical += not found
        if found:
            differing[str(step)] = found
        shutil.rmtree(folder)
    return {"resumed": len(steps), "identical": identical, "differing": differing}


def kill_runs(base: Path, num_runs: int, seed: int, kills_each: int = 2) -> dict[str, Any]:
    """Kill -9 whole runs at random moments and resume them until they finish."""
    draw, whole = random.Random(seed), _uninterrupted(base)
    unreadable = kills = identical = 0
    for number in range(num_runs):
        folder = base / f"killed_{number}"
        words: tuple[str, ...] = (*SHORT, *LONGER, f"hydra.run.dir={folder}")
        for _ in range(kills_each):
            process = command.start(*words)
            _sleep_to_a_moment(base, folder, process, draw, in_training=draw.random() < 0.8)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

            kills += 1
            unreadable += _num_unreadable(folder)
            if (folder / "config.yaml").exists():
                words = ("train", f"resume={folder}")

        _expect_done(_finish(words))
        identical += not command.differences(whole, folder)
        shutil.rmtree(folder)
    return {"runs": num_runs, "kills": kills, "unreadable": unreadable, "identical": identical}


@dataclass
class Stops:
    """How the runs that were asked to stop ended."""

    stopped: int = 0
    with_143: int = 0
    saved: int = 0
    before_the_run_began: int = 0
    runs: int = 0
    identical: int = 0
    slowest_stop_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def terminate_runs(base: Path, num_stops: int, seed: int, stops_each: int = 3) -> dict[str, Any]:
    """Send SIGTERM to the process group at random moments of runs, and resume each to its end.

    A third of the moments are during start-up, the others after the first metrics.
    """
    draw, whole, found = random.Random(seed), _uninterrupted(base), Stops()
    while found.stopped < num_stops:
        folder = base / "terminated"
        words: tuple[str, ...] = (*SHORT, *LONGER, f"hydra.run.dir={folder}")
        for _ in range(min(stops_each, num_stops - found.stopped)):
            was_stopped = _terminate(base, folder, words, draw, found)
            if (folder / "config.yaml").exists():
                words = ("train", f"resume={folder}")
            if not was_stopped:
                break  # it finished before the signal

        _expect_done(_finish(words))
        found.runs += 1
        found.identical += not command.differences(whole, folder)
        shutil.rmtree(folder)
    found.slowest_stop_seconds = round(found.slowest_stop_seconds, 2)
    return asdict(found)


def _terminate(
    base: Path, folder: Path, words: tuple[str, ...], draw: random.Random, found: Stops
) -> bool:
    """Stop a run at a random moment and count how it ended; return False if it finished first."""
    process = command.start(*words)
    _sleep_to_a_moment(base, folder, process, draw, in_training=found.stopped % 3 > 0)
    asked = time.perf_counter()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode == 0:
        return False

    found.stopped += 1
    found.slowest_stop_seconds = max(found.slowest_stop_seconds, time.perf_counter() - asked)
    has_begun, code = (folder / "config.yaml").exists(), process.returncode
    if code == -signal.SIGTERM:
        code = 143  # before Python installed its handler: nothing was done yet
    found.with_143 += code == 143
    if code != 143 or "Traceback" in errors:
        found.problems.append(f"exit code {code}: {errors[-300:]}")

    if has_begun:
        found.saved += _stopped_at_a_saved_step(folder)
    else:
        found.before_the_run_began += 1
    return True


def _stopped_at_a_saved_step(folder: Path) -> bool:
    """Return whether the newest checkpoint is that of the last step in the metrics."""
    run = RunFolder(folder)
    lines = command.trace(folder)
    last = max((line["step"] for line in lines), default=0)
    newest = newest_checkpoint(run, lambda _: None)
    return newest is not None and newest.name == run.checkpoint_file(last).name


def _num_unreadable(folder: Path) -> int:
    bad = 0
    for path in (folder / "checkpoints").glob("*.safetensors"):
        try:
            command.checkpoint.read(path)
        except CnnlabError:
            bad += 1
    return bad


def _uninterrupted(base: Path) -> Path:
    whole = base / "uninterrupted"
    if not whole.exists():
        started = time.perf_counter()
        process = command.start(*SHORT, *LONGER, f"hydra.run.dir={whole}")
        _wait_for_metrics(process, whole)
        began = time.perf_counter()
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)

        _expect_done(Outcome(process.returncode, output, errors, 0.0))
        spans = {"start": began - started, "training": time.perf_counter() - began}
        (base / "seconds.json").write_text(json.dumps(spans))
    return whole


def _sleep_to_a_moment(
    base: Path,
    folder: Path,
    process: "subprocess.Popen[str]",
    draw: random.Random,
    *,
    in_training: bool,
) -> None:
    """Wait until a random moment of the start-up, or of the training after the first metrics."""
    spans = json.loads((base / "seconds.json").read_text())
    if in_training:
        _wait_for_metrics(process, folder)
        time.sleep(draw.uniform(0, spans["training"]))
    else:
        time.sleep(draw.uniform(0.02, 1.0) * spans["start"])


def _wait_for_metrics(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Wait until the run has appended to its metrics, or ended."""
    metrics = folder / "metrics.jsonl"
    before = metrics.stat().st_size if metrics.is_file() else 0
    while process.poll() is None:
        if metrics.is_file() and metrics.stat().st_size != before:
            return
        time.sleep(0.01)


def _finish(words: tuple[str, ...]) -> Outcome:
    process = command.start(*words)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return Outcome(process.returncode, output, errors, 0.0)


def _expect_done(outcome: Outcome) -> None:
    if outcome.code != 0:
        raise AssertionError(
            f"a run that should succeed ended with {outcome.code}: {outcome.errors}"
        )
