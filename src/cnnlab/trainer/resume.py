"""Continuing a run: which checkpoint, and whether settings, images and machine are its own."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import __version__, checkpoint, run_folder
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import TrainConfig, of_earlier_run, to_plain
from cnnlab.config.changes import SAFE, Change, changes_between, check_changes
from cnnlab.data.recorded import DATA_DIGEST, differences, recorded_digests
from cnnlab.data.store import Splits
from cnnlab.distributed import Peers
from cnnlab.errors import CheckpointError, CnnlabError, UsageError
from cnnlab.printable import printable
from cnnlab.run_folder import RunFolder
from cnnlab.trainer import processes


@dataclass
class Resumption:
    """A locked run folder, and the checkpoint to go on from (None: it had not saved yet)."""

    folder: RunFolder
    path: Path | None
    held: Checkpoint | None
    changes: list[Change]


def prepare(config: TrainConfig, say: Callable[[str], None]) -> Resumption | None:
    """Find and lock the run of `config.resume`, read its checkpoint and compare the settings.

    None: the run is complete, `say` was told so, nothing was touched; from a checkpoint that is
    named itself a run is continued in any case. Raises UsageError for changes that are not allowed,
    CheckpointError, BusyError.
    """
    assert config.resume is not None
    folder = run_folder.find_run(config.resume)
    if not Path(config.resume).is_file() and _is_complete(folder, config):
        say(f"this run is complete: {printable(str(folder.path))}; nothing was changed")
        return None
    for leftover in folder.lock():
        say(f"removed the leftover of a killed write: {printable(leftover.name)}")
    try:
        return _compared(folder, config, say)
    except CnnlabError:
        folder.release()
        raise


def prepare_together(
    config: TrainConfig, say: Callable[[str], None], peers: Peers
) -> Resumption | None:
    """Let the first process do what `prepare` does; the others read the checkpoint it found."""
    found: list[Resumption | None] = []

    def find() -> tuple[str, str | None] | None:
        found.append(prepare(config, say))
        if (own := found[0]) is None:
            return None
        return str(own.folder.path), None if own.path is None else str(own.path)

    places = processes.from_first(peers, find)
    if found or places is None:
        return found[0] if found else None
    folder, path = processes.FollowedRun(places[0]), places[1]
    held = None if path is None else checkpoint.read(path)
    return Resumption(folder, None if path is None else Path(path), held, [])


def check_data(held: Checkpoint, splits: Splits, allowed: list[str]) -> None:
    """Raise UsageError when the images of any split are not those that the run recorded."""
    if DATA_DIGEST in allowed:
        return
    found = differences(held.document, splits.stores())
    if found or "train" not in recorded_digests(held.document):
        raise UsageError(
            "the images differ from those the run was trained on",
            "; ".join(str(difference) for difference in found) or "no digest was recorded",
            f"if you mean it: allow_changes=[{DATA_DIGEST}]",
        )


def environment(device: torch.device) -> dict[str, Any]:
    """Return what bit-identical continuation depends on beside the settings."""
    return {
        "cnnlab": ".".join(__version__.split(".")[:2]),
        "torch": str(torch.__version__),
        "num_threads": torch.get_num_threads(),
        "device": device.type,
        "num_processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def environment_warnings(held: Checkpoint, device: torch.device) -> list[str]:
    """Return one line for each part of the environment that is not the run's."""
    old = held.document.get("environment")
    if not isinstance(old, dict):
        return []
    return [
        f"warning: {change}: the run goes on, but not bit-identically"
        for change in changes_between({"num_processes": 1} | old, environment(device))
    ]


def record(resumption: Resumption, config: TrainConfig, step: int) -> None:
    """Make the folder tell of this continuation: run.json, and config.yaml as it is from now."""
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


def comparable(config: TrainConfig) -> dict[str, Any]:
    """Return the settings as plain data, without those that only say how to resume."""
    return {k: v for k, v in to_plain(config).items() if k not in ("resume", "allow_changes")}


def _is_complete(folder: RunFolder, config: TrainConfig) -> bool:
    if folder.status().get("status") != "done":
        return False
    old = _without_resume(folder.read_config())
    return all(change.within(SAFE) for change in changes_between(old, comparable(config)))


def _compared(folder: RunFolder, config: TrainConfig, say: Callable[[str], None]) -> Resumption:
    named = Path(str(config.resume))
    path = named if named.is_file() else run_folder.newest_checkpoint(folder, say)
    held = None if path is None else checkpoint.read(path)
    old = folder.read_config() if held is None else held.document.get("config")
    if not isinstance(old, dict):
        raise CheckpointError("the checkpoint is not one of a training run", printable(str(path)))
    changes = changes_between(_without_resume(old), comparable(config))
    check_changes(changes, config.allow_changes)
    for change in changes:
        say(f"changed: {change}")
    return Resumption(folder, path, held, changes)


def _without_resume(plain: dict[str, Any]) -> dict[str, Any]:
    known = of_earlier_run(plain)
    return {k: v for k, v in known.items() if k not in ("resume", "allow_changes")}
