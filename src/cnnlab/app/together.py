"""Several processes in one run: the first writes and speaks, the others follow it."""

import dataclasses
import functools
import operator
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnnlab import interrupts, run_folder
from cnnlab.config import EvaluateConfig, TrainConfig
from cnnlab.console import Console
from cnnlab.distributed import Peers
from cnnlab.errors import CnnlabError, UsageError
from cnnlab.evaluation.ensemble import MemberCounts
from cnnlab.evaluation.evaluate import EvaluationStopped
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


def check_evaluation(peers: Peers, config: EvaluateConfig) -> None:
    """Raise UsageError for what an evaluation by several processes cannot do."""
    if peers.size > 1 and config.save_probabilities:
        raise UsageError(
            "save_probabilities writes one file, image by image: one process does that",
            f"torchrun started {peers.size}",
            "cnnlab evaluate without torchrun",
        )


def judged(peers: Peers, num_batches: int, judge: Callable[[], Tally]) -> Tally:
    """Return the sum of what all processes count, each in its share of the images.

    judge: counts this process's share, of num_batches. Raises EvaluationStopped in all processes
    when one of them was asked to stop.
    """
    own: Tally | str | None = None
    try:
        if num_batches or peers.size == 1:
            own = judge()
    except EvaluationStopped:
        own = STOPPED
    found = peers.gather(own)
    if STOPPED in [one for one in found if isinstance(one, str)]:
        raise EvaluationStopped
    first, *others = [one for one in found if isinstance(one, Tally)]
    return sum(others, start=first)


def asked_to_stop(peers: Peers) -> Callable[[], int | None]:
    """Return what says between batches whether to stop, and that this process still works."""

    def ask() -> int | None:
        peers.note_progress()
        return interrupts.requested()

    return ask


def worst_of_all(peers: Peers, misses: Sequence[Miss], num_images: int, number: int) -> list[Miss]:
    """Return the worst misses of all processes; each counted its images from 0."""
    first = peers.share.rows(num_images).start
    own = [dataclasses.replace(miss, index=miss.index + first) for miss in misses]
    found = [miss for part in peers.gather(own) for miss in part]
    return sorted(found, key=lambda miss: (-miss.confidence, miss.index))[:number]


def counts_of_all(peers: Peers, counts: MemberCounts | None) -> MemberCounts | None:
    """Return what all processes counted of the members, in order; shares are contiguous."""
    found = [part for part in peers.gather(counts) if part is not None]
    return functools.reduce(operator.add, found) if found else None


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
