"""One run folder: config.yaml, run.json, metrics.jsonl, train.log, tensorboard/, checkpoints/."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnlab.config import renamed
from cnnlab.files import atomic, regular
from cnnlab.files.plain_yaml import dump_plain, load_plain
from cnnlab.run_folder import names
from cnnlab.run_folder.lock import RunLock

BASE = "outputs"
FILES = ("run.json", "config.yaml", "metrics.jsonl", "metrics.csv", "train.log", "lock")
FOLDERS = ("checkpoints", "tensorboard", "profile", "members")
"""What a run writes into; each is a file or a folder of its own, and never a link."""

START_HINT = "start a run: cnnlab train (its folder appears in outputs/)"


class RunFolder:
    """The paths, status (run.json), config, checkpoints and lock of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.config_file = self.path / "config.yaml"
        self.status_file = self.path / "run.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.log_file = self.path / "train.log"
        self.tensorboard = self.path / "tensorboard"
        self._lock: RunLock | None = None

    def lock(self) -> list[Path]:
        """Lock the folder for writing until `release`; remove and return partial files.

        Raises CheckpointError for a link, a pipe or the like where a run has its files, BusyError
        with pid and host of another writer, ResourceError when the folder cannot be written.
        """
        self.check()
        if self._lock is None:
            self._lock = RunLock(self.path)
        try:
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise atomic.unwritable(self.checkpoints, error) from error
        return atomic.sweep(self.path) + atomic.sweep(self.checkpoints)

    def check(self) -> None:
        """Raise CheckpointError for a link, a pipe or the like where a run has its files.

        The folder may be a stranger's, and a link in it may lead anywhere.
        """
        for name in FILES:
            regular.check_file(self.path / name)
        for name in FOLDERS:
            regular.check_folder(self.path / name)
        names.check(self.checkpoints)

    def release(self) -> None:
        """Unlock the folder; the end of the process does the same."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def status(self) -> dict[str, Any]:
        """Return the content of run.json, {} when it is missing or unreadable.

        Raises CheckpointError when it is a link, a pipe or the like.
        """
        try:
            facts = regular.read_json(self.status_file)
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def seconds(self) -> float | None:
        """Return how long the run took by run.json, from its last start or continuation on.

        None where that has no such times.
        """
        facts = self.status()
        try:
            began = facts["resumed"][-1]["time"] if facts.get("resumed") else facts["started"]
            took = datetime.fromisoformat(facts["ended"]) - datetime.fromisoformat(began)
            return took.total_seconds()
        except (KeyError, TypeError, ValueError, IndexError):
            return None

    def mapping(self, key: str) -> dict[str, str]:
        """Return a mapping of texts in run.json, {} where there is none or something else."""
        held = self.status().get(key)
        return {k: str(v) for k, v in held.items()} if isinstance(held, dict) else {}

    def update_status(self, **facts: Any) -> None:
        """Merge the facts into run.json, atomically; NaN and infinities become null.

        Raises ResourceError when it cannot be written.
        """
        finite = json.loads(json.dumps(facts), parse_constant=lambda _: None)
        text = json.dumps(self.status() | finite, indent=2, allow_nan=False) + "\n"
        atomic.write_bytes(self.status_file, text.encode())

    def begin_again(self, **facts: Any) -> None:
        """Set the status to running again in run.json, and clear the earlier result."""
        self.update_status(
            status="running",
            ended=None,
            error=None,
            stop_reason=None,
            best_validation_error=None,
            test_error=None,
            **facts,
        )

    def write_config(self, plain: dict[str, Any]) -> None:
        """Write the whole config as plain YAML, atomically."""
        atomic.write_bytes(self.config_file, dump_plain(plain))

    def read_config(self) -> dict[str, Any]:
        """Return config.yaml as plain data under the key names of today; nothing is resolved.

        Raises UsageError when it is missing or not plain YAML, CheckpointError when it is a link,
        a pipe or the like.
        """
        config: dict[str, Any] = renamed.current(load_plain(self.config_file, hint=START_HINT))
        return config

    def checkpoint_file(self, step: int) -> Path:
        """Return the path of the checkpoint after `step` steps."""
        return self.checkpoints / names.at_step(step)

    def mark(self, step: int, name: str) -> None:
        """Make `last` or `best` the checkpoint of this step, atomically."""
        target = self.checkpoints / f"{name}{names.ENDING}"
        atomic.link(self.checkpoint_file(step), target)

    def prune(self, keep: int, spread: int = 0, last_step: int = 1) -> None:
        """Remove all but the newest `keep` numbered checkpoints (at least 2), not best and last.

        `spread` further ones stay, spread over a training of `last_step` steps.
        """
        names.prune(self.checkpoints, keep, spread, last_step)

    def set_aside_after(self, step: int) -> list[Path]:
        """Move checkpoints of later steps to checkpoints/abandoned_N; return their new paths.

        For a run that continues from an older checkpoint: the later ones belong to another
        continuation. They are kept, but no longer pruned or resumed.
        """
        return names.set_aside_after(self.checkpoints, step)


def now() -> str:
    """Return the local time with its zone, in the format of run.json."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
