"""The members of an ensemble as processes: started in order, watched, and stopped as one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cnnlab import interrupts
from cnnlab.config import TrainConfig
from cnnlab.console import Console
from cnnlab.cpu.processors import budget, share
from cnnlab.errors import Interrupted, MemberError, PeerLostError
from cnnlab.files import regular
from cnnlab.run_folder import RunFolder
from cnnlab.trainer.display import plugin_words, resume_command
from cnnlab.trainer.stalls import WARNINGS
from cnnlab.writers import MOST_METRICS_BYTES

POLL_SECONDS = 0.2

BAR_TITLE = "epochs of all members"


class MemberProcesses:
    """One `cnnlab train` per member, each with a run folder of its own.

    overrides: words of the command line that each member gets.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        config: TrainConfig,
        console: Console,
        overrides: Sequence[str] = (),
    ) -> None:
        self.folders, self.config, self.console = list(folders), config, console
        self.overrides = list(overrides)
        self.waiting = list(folders)
        self.running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self._warned: set[str] = set()
        self._environment: dict[str, str] = {}

    def train(self, at_once: int) -> None:
        """Train every member to its end, `at_once` of them side by side.

        Raises Interrupted, or the error of a failed member; the others are then stopped.
        """
        self._environment = os.environ | share(at_once, budget())
        total = len(self.folders) * self.config.trainer.epochs
        self.console.start_bar(total, int(self._epochs_done()), BAR_TITLE)
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self._room(at_once):
                    self._start(self.waiting.pop(0))
                self._poll()
                time.sleep(POLL_SECONDS)
        finally:
            self._stop_all()
            self.console.stop_bar()

    def _room(self, at_once: int) -> int:
        """Return how many may run now; a number that was asked for is kept.

        Of five on two cores the last three share the cores: two and one would leave a core idle.
        """
        left = len(self.waiting) + len(self.running)
        most = at_once + len(self.folders) % at_once
        return most if self.config.ensemble.at_once is None and left <= most else at_once

    def _start(self, path: Path) -> None:
        words = ["train", f"resume={path}", *self.overrides]
        if not any(word.startswith("plugins=") for word in words):
            words += plugin_words(self.config.plugins)

        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _poll or _stop_all
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cnnlab", *words],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=self._environment,
        )
        self.running[path] = (process, errors)
        self.console.line(f"{path.name}: started")

    def _poll(self) -> None:
        """Stop all if asked to, show what is new of each member, and move the bar."""
        if (number := interrupts.requested()) is not None:
            self._stop_all()
            raise Interrupted(interrupts.exit_code(number), self._stopped_message())

        for path, (process, errors) in list(self.running.items()):
            self._pass_on_warnings(path)
            if process.poll() is not None:
                del self.running[path]
                with errors:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace").strip()
                self._finish(path, process.returncode, said)
        self.console.advance_bar(int(self._epochs_done()), lambda: BAR_TITLE)

    def _pass_on_warnings(self, path: Path) -> None:
        """Show a member's warnings, each kind once: the members differ in their seed alone."""
        for kind, text in RunFolder(path).mapping(WARNINGS).items():
            if kind not in self._warned:
                self._warned.add(kind)
                self.console.line(f"{path.name}: {text}")

    def _finish(self, path: Path, code: int, said: str) -> None:
        if code != 0:
            raise failure(path, code, said)
        error = RunFolder(path).status().get("test_error")
        shown = f", test error {error:.2%}" if isinstance(error, float) else ""
        self.console.line(f"{path.name}: done{shown}")

    def _stop_all(self) -> None:
        """Ask every running member to stop, then wait until each has saved and ended."""
        for process, _ in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

        for process, errors in self.running.values():
            process.wait()
            errors.close()
        self.running.clear()

    def _epochs_done(self) -> float:
        return sum(epochs_of(path) for path in self.folders)

    def _stopped_message(self) -> str:
        command = resume_command(self.folders[0].parent.parent, self.config.plugins)
        return f"stopped; everything is saved\n  continue with: {command}"


def epochs_of(path: Path) -> float:
    """Return how many epochs a member has done, from the last line of its metrics."""
    try:
        lines = regular.lines(RunFolder(path).metrics_file, MOST_METRICS_BYTES)
        epochs = [line for line in lines if b'"epoch"' in line]
        return float(json.loads(epochs[-1])["epoch"]) if epochs else 0.0
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0.0


def failure(path: Path, code: int, said: str) -> MemberError:
    """Return an error that ends the ensemble with the member's own exit code and message."""
    lines = said.removeprefix("cnnlab: ").splitlines() or [f"ended with code {code}"]
    where, hint, *_ = [*(line.strip() for line in lines[1:]), "", ""]
    own_code = code if code > 0 else PeerLostError.exit_code  # a signal ended it
    return MemberError(own_code, f"{path.name}: {lines[0]}", where, hint or f"its folder: {path}")
