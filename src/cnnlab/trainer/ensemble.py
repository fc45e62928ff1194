"""With ensemble.members the same training from several seeds, each in a process of its own.

A member is an ordinary run in a folder of its own, trained by a process of its own, so that it
equals the single run of its seed bit for bit: two trainings in one process would share torch's
random state. On a CPU as many members as there are cores train at once, one thread each.
"""

import contextlib
import dataclasses
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

from cnnlab import distributed, interrupts, run_folder, runtime
from cnnlab.config import EvaluateConfig, Launch, Outcome, TrainConfig, to_plain
from cnnlab.console import Console
from cnnlab.errors import Interrupted, MemberError, PeerLostError, UsageError
from cnnlab.inference import answer as answers
from cnnlab.inference import evaluation
from cnnlab.inference.members import MEMBER_RUNS, MEMBERS_FOLDER, member_name
from cnnlab.reports import evaluation_page
from cnnlab.run_folder import RunFolder, provenance
from cnnlab.trainer import run as train
from cnnlab.trainer import starting_weights
from cnnlab.trainer.display import plugin_words, resume_command
from cnnlab.trainer.stalls import WARNINGS

POLL_SECONDS = 0.2
EVALUATION_BATCH = 256


def run(config: TrainConfig, launch: Launch) -> Outcome:
    """Train the members, or continue them, and measure them as one.

    Raises RunError for what happens while the run folder is held.
    """
    if distributed.is_launched():
        raise UsageError(
            "an ensemble trains its members in processes of its own",
            hint="cnnlab train ensemble.members=5 without torchrun",
        )
    console = Console(progress=config.logging.progress)
    with contextlib.closing(console), interrupts.watching():
        if config.resume is None:
            config, _ = starting_weights.begin(config, launch.overrides, distributed.ALONE)
        folder = _open_folder(config, launch)
        console.log_to(folder.log_file)
        with train.failing_as(folder), train.recorded(folder):
            _train_and_test(config, folder, console, launch)
    return Outcome(run=str(folder.path))


def _train_and_test(
    config: TrainConfig, folder: RunFolder, console: Console, launch: Launch
) -> None:
    folders = [claim_member(folder, config, i) for i in range(config.ensemble.members)]
    at_once = num_at_once(config)
    folder.update_status(
        command=launch.command,
        model=config.model.name,
        dataset=config.dataset.name,
        seed=config.seed,
        members=len(folders),
        **{MEMBER_RUNS: [str(path.relative_to(folder.path)) for path in folders]},
        at_once=at_once,
        **provenance.describe(),
    )
    console.line(f"run folder  {folder.path}")
    console.line(f"ensemble    {len(folders)} members, {at_once} at once")
    started = time.monotonic()
    overrides = [] if config.resume is None else member_overrides(launch.overrides)
    Crew(folders, config, console, overrides).train(at_once)
    seconds = time.monotonic() - started
    console.line(f"{len(folders)} members trained in {seconds:.0f} s; {folder.path}")
    answer = evaluation.measure(evaluation_of(config, folder))
    answers.show(console, answer)
    evaluation_page.write(answer, folder.path, launch.command)
    folder.update_status(
        status="done",
        ended=run_folder.now(),
        training_seconds=seconds,
        test_error=answer.tally.top1_error,
    )


def num_at_once(config: TrainConfig) -> int:
    """Return how many members train side by side; the last ones may be a few more."""
    wanted, members = config.ensemble.at_once, config.ensemble.members
    if wanted is None:
        on_cpu = runtime.select_device(config.runtime.device).type == "cpu"
        wanted = len(os.sched_getaffinity(0)) if on_cpu else 1
    return min(wanted, members)


def member_config(config: TrainConfig, index: int) -> TrainConfig:
    """Return the config of a single run that equals member `index`."""
    threads = config.runtime.num_threads
    if threads is None and num_at_once(config) > 1:
        threads = 1
    return dataclasses.replace(
        config,
        seed=config.seed + index,
        resume=None,
        ensemble=dataclasses.replace(config.ensemble, members=1, at_once=None),
        runtime=dataclasses.replace(config.runtime, num_threads=threads),
    )


def claim_member(folder: RunFolder, config: TrainConfig, index: int) -> Path:
    """Return the run folder of member `index`, made if it is not there yet."""
    member = member_config(config, index)
    path = folder.path / MEMBERS_FOLDER / member_name(index, member.seed)
    if not (path / "config.yaml").is_file():
        claimed = run_folder.claim("", exact=path)
        claimed.write_config(to_plain(member))
        claimed.update_status(status="waiting")
        claimed.release()
    return path


def evaluation_of(config: TrainConfig, folder: RunFolder) -> EvaluateConfig:
    """Return the evaluation that closes a run: the test images, seen once."""
    return EvaluateConfig(
        checkpoint=[str(folder.path)],
        dataset=config.dataset,
        split="test",
        evaluation=config.evaluation,
        runtime=config.runtime,
        weights=None,
        batch_size=EVALUATION_BATCH,
        save_probabilities=False,
        output=None,
        format="text",
        plugins=config.plugins,
    )


def member_overrides(overrides: Sequence[str]) -> list[str]:
    """Return what a resuming command changes in each member."""
    own = ("resume=", "ensemble.", "hydra.", "seed=")
    return [word for word in overrides if not word.lstrip("+~").startswith(own)]


class Crew:
    """The members' processes: started in order, watched, and stopped together."""

    def __init__(
        self, folders: list[Path], config: TrainConfig, console: Console, overrides: list[str]
    ) -> None:
        self.waiting, self.config, self.console = list(folders), config, console
        self.running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self.folders, self.overrides = folders, overrides
        self._warned: set[str] = set()

    def train(self, at_once: int) -> None:
        """Bring every member to its end. Raises Interrupted, or the error of a failed member."""
        total = len(self.folders) * self.config.trainer.epochs
        self.console.start_bar(total, int(self._epochs_done()), "epochs of all members")
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self._room(at_once):
                    self._start(self.waiting.pop(0))
                self._look_after()
                time.sleep(POLL_SECONDS)
        finally:
            self._stop_all()
            self.console.stop_bar()

    def _room(self, at_once: int) -> int:
        """Return how many may run now: of five on two cores the last three share the cores, since
        two and one would leave a core idle. A number that was asked for is kept."""
        left = len(self.waiting) + len(self.running)
        most = at_once + len(self.folders) % at_once
        return most if self.config.ensemble.at_once is None and left <= most else at_once

    def _start(self, path: Path) -> None:
        words = ["train", f"resume={path}", *self.overrides]
        if not any(word.startswith("plugins=") for word in words):
            words += plugin_words(self.config.plugins)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _finish
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnlab", *words], stdout=subprocess.DEVNULL, stderr=errors
        )
        self.running[path] = (process, errors)
        self.console.line(f"{path.name}: started")

    def _look_after(self) -> None:
        if (number := interrupts.requested()) is not None:
            self._stop_all()
            raise Interrupted(interrupts.exit_code(number), self._how_to_go_on())
        for path, (process, errors) in list(self.running.items()):
            self._pass_on_warnings(path)
            if process.poll() is not None:
                del self.running[path]
                with errors:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace").strip()
                self._finish(path, process.returncode, said)
        self.console.advance_bar(int(self._epochs_done()), lambda: "epochs of all members")

    def _pass_on_warnings(self, path: Path) -> None:
        """Say what a member warns of, each kind once: the others differ in their seed alone."""
        for kind, text in (RunFolder(path).status().get(WARNINGS) or {}).items():
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
        for process, _ in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process, errors in self.running.values():
            process.wait()
            errors.close()
        self.running.clear()

    def _epochs_done(self) -> float:
        return sum(epochs_of(path) for path in self.folders)

    def _how_to_go_on(self) -> str:
        go_on = resume_command(self.folders[0].parent.parent, self.config.plugins)
        return f"stopped; everything is saved\n  continue with: {go_on}"


def epochs_of(path: Path) -> float:
    """Return how far a member is, from the last line of its metrics."""
    try:
        lines = (path / "metrics.jsonl").read_bytes().splitlines()
        epochs = [line for line in lines if b'"epoch"' in line]
        return float(json.loads(epochs[-1])["epoch"]) if epochs else 0.0
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def failure(path: Path, code: int, said: str) -> MemberError:
    """Return an error that ends the ensemble with the member's own exit code and words."""
    lines = said.removeprefix("cnnlab: ").splitlines() or [f"ended with code {code}"]
    where, hint, *_ = [*(line.strip() for line in lines[1:]), "", ""]
    own_code = code if code > 0 else PeerLostError.exit_code  # a signal ended it
    return MemberError(own_code, f"{path.name}: {lines[0]}", where, hint or f"its folder: {path}")


def _open_folder(config: TrainConfig, launch: Launch) -> RunFolder:
    if config.resume is None:
        return train.claim_folder(config, launch)
    folder = run_folder.find_run(config.resume)
    folder.lock()
    folder.begin_again()
    return folder
