"""Several processes in one run: the first one writes and prints, the others follow it."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cnnlab.config import MODELS, ModelConfig, TrainConfig
from cnnlab.config.distributed import HYBRID
from cnnlab.console import Console
from cnnlab.distributed import Peers
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.run_folder import RunFolder

Result = TypeVar("Result")
Plain = TypeVar("Plain")


class ReadOnlyRunFolder(RunFolder):
    """The run folder of every process but the first: it can be read, and never changes."""

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

    def prune(self, keep: int, spread: int = 0, last_step: int = 1) -> None:
        """Leave the checkpoints to the first process."""

    def set_aside_after(self, step: int) -> list[Path]:
        """Leave the checkpoints to the first process."""
        return []


def run_on_first(peers: Peers, action: Callable[[], Plain]) -> Plain:
    """Let the first process act and return its result, plain data, in every process.

    A CnnlabError that it raises is raised in all of them.
    """
    return rebuilt_from_first(peers, action, _unchanged, _unchanged)


def rebuilt_from_first(
    peers: Peers,
    action: Callable[[], Result],
    describe: Callable[[Result], Plain],
    rebuild: Callable[[Plain], Result],
) -> Result:
    """Let the first process act; the others rebuild its result from a description of it.

    describe: result -> plain data, small enough to send. A CnnlabError that `action` raises is
    raised in all processes.
    """
    result: Result | None = None
    outcome: tuple[Plain | None, CnnlabError | None] = (None, None)
    if peers.is_first:
        try:
            result = action()
            outcome = describe(result), None
        except CnnlabError as error:
            if peers.size == 1:
                raise
            outcome = None, error

    description, refusal = peers.broadcast(outcome)
    if refusal is not None:
        raise refusal
    return result if peers.is_first else rebuild(description)  # type: ignore[return-value]


def _unchanged(plain: Plain) -> Plain:
    return plain


def console_of(peers: Peers, config: TrainConfig) -> Console:
    """Return the console of this process; only the first one's is shown."""
    if peers.is_first:
        return Console(progress=config.logging.progress)
    return Console(progress=False, stream=open(os.devnull, "w", encoding="utf-8"))


def check_alone(peers: Peers, model: ModelConfig) -> None:
    """Raise UsageError for a network that spans devices in a job of several processes."""
    other = MODELS[model.name].one_device
    if peers.size > 1 and other is not None:
        raise UsageError(
            "a network over several devices trains in one process",
            f"torchrun started {peers.size}",
            f"cnnlab train without torchrun, or model={other}",
        )


def check_statistics(peers: Peers, model: ModelConfig) -> None:
    """Raise UsageError for running statistics that every process would have of its own images."""
    if peers.size > 1 and getattr(model, "normalization", None) == "batch":
        raise UsageError(
            "a network with batch normalization trains in one process: each of several would have "
            "other running statistics",
            f"torchrun started {peers.size}",
            "cnnlab train without torchrun, or another model.normalization",
        )


def check_scheme(peers: Peers, config: TrainConfig) -> None:
    """Raise UsageError for settings under which the processes of a job would not act as one."""
    if peers.size > 1 and config.distributed.simulate is not None:
        raise UsageError(
            "distributed.simulate computes in one process what several would",
            f"torchrun started {peers.size}",
            "cnnlab train without torchrun, or distributed.simulate=null",
        )
    if peers.size > 1 and config.distributed.scheme == HYBRID and config.saving.every_minutes:
        raise UsageError(
            "saving.every_minutes does not work with distributed.scheme=hybrid: all processes take "
            "part in a save, and their clocks differ",
            hint="saving.every_steps=N",
        )


def launch_name() -> str | None:
    """Return a name of the torchrun that started this process; its restarts share it."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if run is None else f"{run} {socket.gethostname()} {os.getppid()}"
