"""Every signal that asks to end, while a run trains and while a preparation waits for another."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from cnnlab.data.build_lock import building
from cnnlab.run_folder import RunFolder, newest_checkpoint
from cnnlab.starting import ENDING
from scripts.torture import command, streams

ENDLESS = ("train", *streams.LEAN, "trainer.epochs=100000", "trainer.log_every_steps=1")
WAITING = ("prepare", "dataset=synthetic", "wait_seconds=100000")


def send_all(folder: Path, numbers: list[int]) -> dict[str, Any]:
    """Send each signal to a training and to a waiting preparation; return what was wrong."""
    _hear(numbers)
    problems = {}
    for number in numbers:
        name = signal.Signals(number).name
        for label, found in (
            (f"{name}, training", while_training(folder / name, number)),
            (f"{name}, waiting", while_waiting(folder / f"{name}_store", number)),
        ):
            if found:
                problems[label] = found
    return {"tried": 2 * len(numbers), "problems": problems}


def _hear(numbers: list[int]) -> None:
    """Let the commands hear what a shell ignores for a gate in the background, or under nohup."""
    for number in numbers:
        if signal.getsignal(number) == signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)


def while_training(run: Path, number: int) -> list[str]:
    """Send a signal to a run that trains; return what was wrong with its end."""
    process = command.start(*ENDLESS, f"hydra.run.dir={run}")
    while not _has_steps(run):
        if process.poll() is not None:
            return [f"ended by itself: {process.communicate()[1]}"]
        time.sleep(0.05)
    found = _ended(process, number)

    folder = RunFolder(run)
    if folder.status().get("status") != "interrupted":
        found.append(f"run.json says {folder.status().get('status')}")
    saved, last = newest_checkpoint(folder, lambda _: None), command.trace(run)[-1]["step"]
    if saved is None or saved.name != folder.checkpoint_file(last).name:
        found.append(f"step {last} is not saved: {saved}")
    return found


def while_waiting(store: Path, number: int) -> list[str]:
    """Send a signal to a preparation that waits for this process; return what was wrong."""
    with building(store, 0):
        process = command.start(*WAITING, f"output={store}")
        while not _waits_for(process, f"{store}.lock"):
            if process.poll() is not None:
                return [f"ended by itself: {process.communicate()[1]}"]
            time.sleep(0.05)
        return _ended(process, number)


def _ended(process: "subprocess.Popen[str]", number: int) -> list[str]:
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    found = [] if process.returncode == ENDING[number] else [f"exit code {process.returncode}"]
    return [*found, errors] if "Traceback" in errors else found


def _has_steps(run: Path) -> bool:
    try:
        lines = RunFolder(run).metrics_file.read_text().splitlines()
        return json.loads(lines[-1])["step"] > 1
    except (OSError, ValueError, LookupError):
        return False


def _waits_for(process: "subprocess.Popen[str]", lock: str) -> bool:
    """Return whether the process has the lock file open, which only Linux tells."""
    folder = Path("/proc") / str(process.pid) / "fd"
    try:
        return any(os.path.realpath(entry) == os.path.realpath(lock) for entry in folder.iterdir())
    except OSError:
        return False
