"""Resume a run: find it, lock it, read its checkpoint, compare, restore, record; in this order.

`open_run` comes before anything is built: which run, which checkpoint, which settings differ.
`restore` comes when the run is built: whether images and environment are the same, its state put
back, its folder brought in order. A run continues with the settings it was started with; which of
them may change is decided in `config/changes.py`, what a checkpoint holds in `snapshot.py`.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import checkpoint, plugins, run_folder, stored_weights
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig, of_earlier_run, to_plain
from cnnlab.config.changes import SAFE, Change, changes_between, check_changes
from cnnlab.data.recorded import DATA_DIGEST, differences, recorded_digests
from cnnlab.data.store import Splits
from cnnlab.distributed import Peers
from cnnlab.errors import CheckpointError, CnnlabError, UsageError
from cnnlab.run_folder import RunFolder
from cnnlab.safe_output import escape_control
from cnnlab.trainer import processes, snapshot
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.snapshot import Progress, environment

LENGTH_KEYS = ("trainer.epochs", "trainer.early_stop_epochs")
"""Settings whose change lets a run continue after an early stop."""


@dataclass(frozen=True)
class Resumption:
    """A locked run folder, and the checkpoint to continue from (None: it had not saved yet).

    path: the file of the checkpoint. changes: settings that differ from the run's, all allowed.
    """

    folder: RunFolder
    path: Path | None
    checkpoint: Checkpoint | None
    changes: list[Change]

    @property
    def num_threads(self) -> object:
        """Return how many threads computed so far, as the checkpoint says; None: it does not."""
        recorded = self.checkpoint.document.get("environment") if self.checkpoint else None
        return recorded.get("num_threads") if isinstance(recorded, dict) else None


def open_run(config: TrainConfig, say: Callable[[str], None], peers: Peers) -> Resumption | None:
    """Find and lock the run of `config.resume`, read its checkpoint and compare the settings.

    The first process does it; the others read the checkpoint it found. None: the run is complete,
    `say` was told so, nothing was touched; from a checkpoint that is named itself a run is
    continued in any case. Raises UsageError for changes that are not allowed, CheckpointError,
    BusyError.
    """
    return processes.rebuilt_from_first(
        peers, lambda: _open(config, say), _places, _opened_by_first
    )


def _open(config: TrainConfig, say: Callable[[str], None]) -> Resumption | None:
    named = Path(str(config.resume))
    folder = run_folder.find_run(str(config.resume))
    if not named.is_file() and _is_complete(folder, config):
        say(f"this run is complete: {escape_control(str(folder.path))}; nothing was changed")
        return None

    # locked before it is read: from here on no other process writes a checkpoint
    for partial in folder.lock():
        say(f"removed a partial file of an interrupted save: {escape_control(partial.name)}")
    try:
        path = named if named.is_file() else run_folder.newest_checkpoint(folder, say)
        found = None if path is None else checkpoint.read(path)
        stored = folder.read_config() if found is None else found.document.get("config")
        if not isinstance(stored, dict):
            where = escape_control(str(path))
            raise CheckpointError("the checkpoint is not one of a training run", where)

        changes = changes_between(_without_resume(stored), comparable(config))
        check_changes(changes, config.allow_changes)
        for change in changes:
            say(f"changed: {change}")
        return Resumption(folder, path, found, changes)
    except CnnlabError:
        folder.release()
        raise


def _places(opened: Resumption | None) -> tuple[str, str | None] | None:
    """Return what the first process sends to the others: folder and checkpoint, None: complete."""
    if opened is None:
        return None
    return str(opened.folder.path), None if opened.path is None else str(opened.path)


def _opened_by_first(places: tuple[str, str | None] | None) -> Resumption | None:
    if places is None:
        return None
    folder, file = processes.ReadOnlyRunFolder(places[0]), places[1]
    if file is None:
        return Resumption(folder, None, None, [])
    return Resumption(folder, Path(file), checkpoint.read(file), [])


def restore(resumption: Resumption, parts: Assembly, say: Callable[[str], None]) -> Progress:
    """Put a newly built run back to where it stopped, record that it continues, return where.

    Raises UsageError for other images, CheckpointError where the checkpoint does not fit.
    """
    found, path = resumption.checkpoint, resumption.path
    for line in plugins.changes_since(resumption.folder.status().get("plugins")):
        say(line)
    if found is None or path is None:
        progress = Progress.at_start(parts)
    else:
        check_data(found, parts.splits, parts.config.allow_changes)
        for warning in environment_warnings(found, parts.device):
            say(warning)

        progress = snapshot.restore(found, path, parts)
        if stored_weights.judged(found, path) != parts.config.which_weights:
            progress.best.forget()  # the best of other weights
        # every process compares for itself: the first alone has the changes
        if any(change.within(LENGTH_KEYS) for change in _changes(found, parts.config)):
            progress.state.stop_reason = None  # an early stop holds only for the length asked for
        _put_checkpoints_in_order(resumption.folder, parts.peers, progress, say)

    record(resumption, parts.config, progress.state.step)
    say(f"continuing after step {progress.state.step} from {path or 'the start'}")
    return progress


def _changes(found: Checkpoint, config: TrainConfig) -> list[Change]:
    stored = found.document.get("config")
    if not isinstance(stored, dict):
        return []
    return changes_between(_without_resume(stored), comparable(config))


def check_data(found: Checkpoint, splits: Splits, allowed: list[str]) -> None:
    """Raise UsageError unless the images of every split are those that the run recorded."""
    if DATA_DIGEST in allowed:
        return

    changed = differences(found.document, splits.stores())
    if changed or "train" not in recorded_digests(found.document):
        raise UsageError(
            "the images differ from those the run was trained on",
            "; ".join(str(difference) for difference in changed) or "no digest was recorded",
            f"to allow it: allow_changes=[{DATA_DIGEST}]",
        )


def environment_warnings(found: Checkpoint, device: torch.device) -> list[str]:
    """Return one line for each part of the environment that differs from the run's."""
    old = found.document.get("environment")
    if not isinstance(old, dict):
        return []

    return [
        f"warning: {change}: continuing, but not bit-identically"
        for change in changes_between({"num_processes": 1} | old, environment(device))
    ]


def _put_checkpoints_in_order(
    folder: RunFolder, peers: Peers, progress: Progress, say: Callable[[str], None]
) -> None:
    """Move later or damaged checkpoints away, and let `best` be the best of what is left."""
    step, best = progress.state.step, progress.best
    for moved in folder.set_aside_after(step):
        say(f"set aside: {moved}")

    if best.step == step and folder.checkpoint_file(step).is_file():
        folder.mark(step, "best")

    # the first process decides: for the others the folder may have changed in the meantime
    best_file = folder.checkpoints / "best.safetensors"
    if peers.broadcast(best.error is not None and not best_file.is_file()):
        say(f"best checkpoint (step {best.step}) is missing; tracking of the best restarts")
        best.forget()


def record(resumption: Resumption, config: TrainConfig, step: int) -> None:
    """Write the continuation into run.json, and the settings from now on into config.yaml."""
    folder = resumption.folder
    facts = folder.status()
    earlier = facts.get("resumed")
    entry = {
        "time": run_folder.now(),
        "step": step,
        "changes": [str(change) for change in resumption.changes],
        "test_error_before": facts.get("test_error"),
    }

    folder.write_config(comparable(config) | {"resume": None, "allow_changes": []})
    folder.begin_again(
        pid=os.getpid(),
        host=socket.gethostname(),
        resumed=[*(earlier if isinstance(earlier, list) else []), entry],
    )


def run_before_restart(folder: str | None) -> str | None:
    """Return the run folder to resume when torchrun restarted this job, None when it did not.

    folder: where the command line wants the run; None: anywhere under outputs/.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None

    name = processes.launch_name()
    if folder is not None:
        return folder if RunFolder(folder).status().get("launch") == name else None

    runs = [facts for facts in run_folder.list_runs() if facts.get("launch") == name]
    return str(runs[-1]["path"]) if runs else None


def comparable(config: TrainConfig) -> dict[str, Any]:
    """Return the settings as plain data, without those that only say how to resume."""
    return {k: v for k, v in to_plain(config).items() if k not in ("resume", "allow_changes")}


def _is_complete(folder: RunFolder, config: TrainConfig) -> bool:
    if folder.status().get("status") != "done":
        return False
    old = _without_resume(folder.read_config())
    return all(change.within(SAFE) for change in changes_between(old, comparable(config)))


def _without_resume(plain: dict[str, Any]) -> dict[str, Any]:
    known = of_earlier_run(plain)
    return {k: v for k, v in known.items() if k not in ("resume", "allow_changes")}
