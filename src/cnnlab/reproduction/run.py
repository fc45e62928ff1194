"""The runs of the claims as processes: `cnnlab train` in a folder each, several side by side.

A run that is done is not started again; one that was stopped or killed is resumed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cnnlab import interrupts, run_folder
from cnnlab.config import to_plain
from cnnlab.console import Console
from cnnlab.cpu.processors import budget, share
from cnnlab.errors import Interrupted, MemberError
from cnnlab.files import regular
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.run_folder import RunFolder, lock
from cnnlab.trainer.member_processes import POLL_SECONDS, epochs_of, failure

BAR_TITLE = "training images"
THOUSAND = 1000


class RunProcesses:
    """Trainings in processes of their own, `at_once` of them side by side.

    planned: every run that the bar counts, also those of a later `train`. again: the command that
    continues after an interrupt.
    """

    def __init__(
        self, planned: Sequence[PlannedRun], at_once: int, console: Console, again: str
    ) -> None:
        self.planned, self.at_once = list(planned), at_once
        self.console, self.again = console, again
        self.failed: dict[Path, MemberError] = {}
        self._done: set[Path] = set()
        self._running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self._environment = os.environ | share(at_once, budget())

    def train(self, runs: Sequence[PlannedRun]) -> None:
        """Train what is not done yet of `runs`; a run that fails is noted in `failed`.

        Raises Interrupted after a request to stop, when every process has saved and ended.
        """
        for run in runs:
            prepare(run)
        self._done |= {run.path for run in self.planned if run.is_done}
        waiting = [run for run in runs if run.path not in self._done]
        self.console.line(f"{len(runs)} runs, {len(runs) - len(waiting)} of them done before")

        total = sum(run.images for run in self.planned) / THOUSAND
        self.console.start_bar(int(total) or 1, self._images_done(), BAR_TITLE, unit="thousand")
        try:
            while waiting or self._running:
                self._start_from(waiting)
                self._poll()
                time.sleep(POLL_SECONDS)
        finally:
            self._stop_all()
            self.console.stop_bar()

    def _start_from(self, waiting: list[PlannedRun]) -> None:
        """Start as many as there is room for, and take them from the list.

        A run that another process trains, as after the kill of this command alone, is waited for.
        """
        for run in list(waiting):
            if len(self._running) >= self.at_once:
                return
            if lock.is_held(run.path):
                continue

            waiting.remove(run)
            if run.is_done:
                self._done.add(run.path)
            else:
                self._start(run)

    def _start(self, run: PlannedRun) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _poll or _stop_all
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cnnlab", "train", f"resume={run.path}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=self._environment,
        )
        self._running[run.path] = (process, errors)
        self.console.line(f"{run.path.name}: started")

    def _poll(self) -> None:
        """Stop all if asked to, note which runs have ended, and move the bar."""
        if (number := interrupts.requested()) is not None:
            self._stop_all()
            raise Interrupted(interrupts.exit_code(number), stopped(self.again))

        for path, (process, errors) in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[path]
            with errors:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
            self._finish(path, process.returncode, said)
        self.console.advance_bar(self._images_done(), lambda: BAR_TITLE)

    def _finish(self, path: Path, code: int, said: str) -> None:
        if code != 0:
            self.failed[path] = failure(path, code, said)
            self.console.line(str(self.failed[path]))
            return

        self._done.add(path)
        error = RunFolder(path).status().get("test_error")
        shown = f", test error {error:.2%}" if isinstance(error, float) else ""
        self.console.line(f"{path.name}: done{shown}")

    def _stop_all(self) -> None:
        """Ask every process to stop, then wait until each has saved and ended."""
        for process, _ in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

        for process, errors in self._running.values():
            process.wait()
            errors.close()
        self._running.clear()

    def _images_done(self) -> int:
        """Return how many thousand images were seen; only what runs now is read from its files."""
        seen = [run.images for run in self.planned if run.path in self._done]
        seen += [_images_seen(run) for run in self.planned if run.path in self._running]
        return int(sum(seen) / THOUSAND)


def stopped(again: str) -> str:
    """Return the message of a command that was asked to stop."""
    return f"stopped; everything is saved\n  continue with: {again}"


def prepare(run: PlannedRun) -> None:
    """Create the folder of a run, or finish creating one that a kill has left without settings."""
    regular.check_folder(run.path.parent)
    regular.check_folder(run.path)
    if (run.path / "config.yaml").is_file():
        return

    if run.path.is_dir() and any(run.path.iterdir()):
        folder = run.folder
        folder.lock()
    else:
        folder = run_folder.claim("", exact=run.path)
    folder.write_config(to_plain(run.config))
    folder.update_status(status="waiting")
    folder.release()


def _images_seen(run: PlannedRun) -> float:
    return run.images * min(1.0, epochs_of(run.path) / run.config.trainer.epochs)
