"""A training run <-> the tensors and the document of one checkpoint; reads and writes no file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import __version__, checkpoint
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import to_plain
from cnnlab.data.recorded import state_of
from cnnlab.errors import CheckpointError
from cnnlab.models import Network
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.hooks import Best, RunningLoss
from cnnlab.training.loop import TrainState
from cnnlab.training.optimizers import load_optimizer_tensors, optimizer_tensors

INTERRUPTED = "interrupted"
"""The reason to stop that a resumed run forgets; others, an early stop, it keeps."""


@dataclass
class Progress:
    """What a run must remember besides its weights to continue exactly where it stopped."""

    state: TrainState
    running_loss: RunningLoss
    best: Best
    figures: dict[str, float]
    validation_due: bool = False  # stopped between an update and the validation after it

    @classmethod
    def at_start(cls, parts: Assembly) -> "Progress":
        """Return the progress of a run that made no update yet."""
        state = TrainState(parts.network, parts.optimizer)
        return cls(state, RunningLoss(parts.device), Best(), {})


def take(parts: Assembly, progress: Progress) -> Checkpoint:
    """Return the run as it is now; its tensors are live, not copied."""
    weights = {f"model.{name}": value for name, value in parts.network.state_dict().items()}
    input_tensors, _ = parts.preprocessing.state()
    tensors = (
        weights
        | optimizer_tensors(progress.state.optimizer, parts.network)
        | input_tensors
        | progress.running_loss.tensors()
    )
    return Checkpoint(tensors, _document(parts, progress))


def _document(parts: Assembly, progress: Progress) -> dict[str, Any]:
    """Return everything but the tensors as plain JSON."""
    network = parts.network
    step, reason = progress.state.step, progress.state.stop_reason

    return {
        "config": to_plain(parts.config) | {"resume": None, "allow_changes": []},
        "environment": environment(parts.device),
        "class_names": list(parts.splits.train.class_names),
        "seed": parts.config.seed,
        "step": step,
        "epoch": step / parts.stream.steps_per_epoch,
        "total_steps": parts.total_steps,
        "metrics": dict(progress.figures),
        "model": {
            "in_channels": network.in_channels,
            "input_size_pixels": network.input_size_pixels,
            "num_classes": network.num_classes,
        },
        "input": parts.preprocessing.state()[1],
        **state_of(parts.splits),
        "schedule": parts.schedule.state_dict(),
        "best": progress.best.state_dict(),
        "validation_due": progress.validation_due,
        "stop_reason": None if reason == INTERRUPTED else reason,
    }


def environment(device: torch.device) -> dict[str, Any]:
    """Return what bit-identical continuation depends on besides the settings."""
    return {
        "cnnlab": ".".join(__version__.split(".")[:2]),
        "torch": str(torch.__version__),
        "num_threads": torch.get_num_threads(),
        "device": device.type,
        "num_processes": int(os.environ.get("WORLD_SIZE", "1")),
    }


def restore(found: Checkpoint, path: Path, parts: Assembly) -> Progress:
    """Put the parts of a run back to where `found` was written, and return its progress there.

    path: its file, for messages. Raises CheckpointError when it does not fit.
    """
    restore_weights(found, path, parts.network)
    load_optimizer_tensors(parts.optimizer, parts.network, found.tensors)

    document, running_loss, best = found.document, RunningLoss(parts.device), Best()
    try:
        running_loss.load_tensors(found.tensors)
        best.load_state_dict(document["best"])
        parts.schedule.load_state_dict(document["schedule"])
        step, reason = int(document["step"]), document.get("stop_reason")
        state = TrainState(parts.network, parts.optimizer, step, reason)
        due = bool(document.get("validation_due"))
        return Progress(state, running_loss, best, dict(document["metrics"]), due)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint lacks {error}, so no run can continue from it", str(path)
        ) from error


def restore_weights(found: Checkpoint, path: Path, network: Network) -> None:
    """Copy the checkpoint's weights into the network, after names, shapes and types were checked.

    A network on two devices hands out joined tensors, and splits them again as it loads them.
    """
    joined = dict(network.state_dict())
    checkpoint.copy_into(joined, checkpoint.section(found.tensors, "model."), path)
    network.load_state_dict(joined)
