"""Several processes in one run: the first writes and speaks, the others follow it."""

import dataclasses
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnnlab import run_folder
from cnnlab.config import TrainConfig
from cnnlab.console import Console
from cnnlab.distributed import Peers
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.run_folder import RunFolder

Result = TypeVar("Result")
STOPPED = "stopped"


class FollowedRun(RunFolder):
    """The run folder as the other processes see it: they read, and write nothing."""

    def lock(self) -> list[Path]:
        """Leave the lock to the first process."""
        return []

    def release(self) -> None:
        """Leave the lock to the first process."""

    def update_status(self, **facts: Any) -> None:
        """Leave run.json to the first process."""

    def write_config(self, plain: dict[str, Any]) -> None:
        """Leave config.yaml to the first process."""

    def mark(self, step: int, name: str) -> None:
        """Leave the checkpoints to the first process."""

    def prune(self, keep: int) -> None:
        """Leave the checkpoints to the first process."""

    def set_aside_after(self, step: int) -> list[Path]:
        """Leave the checkpoints to the first process."""
        return []


def from_first(peers: Peers, action: Callable[[], Result]) -> Result:
    """Let the first process act and return its result, plain data, in every process.

    An error of ours that it raises is raised in all of them.
    """
    outcome: tuple[Any, CnnlabError | None] = (None, None)
    if peers.is_first:
        try:
            outcome = action(), None
        except CnnlabError as error:
            if peers.size == 1:
                raise
            outcome = None, error
    result: Result
    result, refusal = peers.broadcast(outcome)
    if refusal is not None:
        raise refusal
    return result


def console_of(peers: Peers, config: TrainConfig) -> Console:
    """Return the console of this process; only the first one's is seen."""
    if peers.is_first:
        return Console(progress=config.logging.progress)
    return Console(progress=False, stream=open(os.devnull, "w", encoding="utf-8"))


def check_alone(peers: Peers, num_devices: int) -> None:
    """Raise UsageError for a network that spans devices in a job of several processes."""
    if peers.size > 1 and num_devices > 1:
        raise UsageError(
            "a network over several devices trains in one process",
            f"torchrun started {peers.size}",
            "cnnlab train without torchrun, or model=alexnet_two_tower",
        )


def add_up(peers: Peers, tally: Tally | str | None) -> Tally | str | None:
    """Return the sum of the processes' tallies, `STOPPED` if one was stopped, None without images.

    tally: this process's own; None when it had no image.
    """
    found = peers.gather(tally)
    if STOPPED in [one for one in found if isinstance(one, str)]:
        return STOPPED
    total: Tally | None = None
    for one in found:
        if isinstance(one, Tally):
            total = one if total is None else total + one
    return total


def worst_of_all(peers: Peers, misses: Sequence[Miss], num_images: int, number: int) -> list[Miss]:
    """Return the worst misses of all processes; each counted its images from 0."""
    first = peers.share.rows(num_images).start
    own = [dataclasses.replace(miss, index=miss.index + first) for miss in misses]
    found = [miss for part in peers.gather(own) for miss in part]
    return sorted(found, key=lambda miss: (-miss.confidence, miss.index))[:number]


def launch_name() -> str | None:
    """Return a name of the torchrun that started this process; its restarts share it."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if run is None else f"{run} {socket.gethostname()} {os.getppid()}"


def earlier_attempt() -> str | None:
    """Return the run folder of the attempt that torchrun restarts, if there is one."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    runs = [facts for facts in run_folder.list_runs() if facts.get("launch") == launch_name()]
    return str(runs[-1]["path"]) if runs else None
