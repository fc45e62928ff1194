"""Several processes in one run: the first writes and speaks, the others follow it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cnnlab import run_folder
from cnnlab.config import TrainConfig
from cnnlab.console import Console
from cnnlab.distributed import Peers
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.run_folder import RunFolder

Result = TypeVar("Result")


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


def launch_name() -> str | None:
    """Return a name of the torchrun that started this process; its restarts share it."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if run is None else f"{run} {socket.gethostname()} {os.getppid()}"


def earlier_attempt(folder: str | None) -> str | None:
    """Return the run folder of the attempt that torchrun restarts, if there is one.

    folder: where the command line wants the run; None: anywhere under outputs/.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    if folder is not None:
        return folder if RunFolder(folder).status().get("launch") == launch_name() else None
    runs = [facts for facts in run_folder.list_runs() if facts.get("launch") == launch_name()]
    return str(runs[-1]["path"]) if runs else None
