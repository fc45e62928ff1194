"""A training run <-> the tensors and the document of one checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cnnlab import checkpoint
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import to_plain
from cnnlab.data.recorded import state_of
from cnnlab.errors import CheckpointError
from cnnlab.models import Network
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.resume import environment
from cnnlab.training.hooks import Best, RunningLoss
from cnnlab.training.loop import TrainState
from cnnlab.training.optimizers import load_optimizer_tensors, optimizer_tensors

INTERRUPTED = "interrupted"
"""The reason to stop that a resumed run forgets; others, an early stop, it keeps."""


@dataclass
class Progress:
    """What a run must remember beside its weights to go on exactly where it stopped."""

    state: TrainState
    running_loss: RunningLoss
    best: Best
    figures: dict[str, float]
    validation_due: bool = False  # stopped between an update and the validation behind it


def tensors_of(parts: Assembly, progress: Progress) -> dict[str, Tensor]:
    """Return weights, optimizer state, preprocessing and running loss by name; live, not copied."""
    weights = {f"model.{name}": value for name, value in parts.network.state_dict().items()}
    input_tensors, _ = parts.preprocessing.state()
    return (
        weights
        | optimizer_tensors(progress.state.optimizer, parts.network)
        | input_tensors
        | progress.running_loss.tensors()
    )


def document_of(parts: Assembly, progress: Progress) -> dict[str, Any]:
    """Return everything else as plain JSON."""
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


def restore(held: Checkpoint, path: Path, parts: Assembly, progress: Progress) -> None:
    """Put a run back to where `held`, read from `path`, was written.

    Raises CheckpointError when it does not fit.
    """
    weights = checkpoint.section(held.tensors, "model.")
    _load_weights(parts.network, weights, path)
    load_optimizer_tensors(progress.state.optimizer, parts.network, held.tensors)
    try:
        progress.running_loss.load_tensors(held.tensors)
        progress.best.load_state_dict(held.document["best"])
        parts.schedule.load_state_dict(held.document["schedule"])
        progress.figures.update(held.document["metrics"])
        progress.state.step = int(held.document["step"])
        progress.validation_due = bool(held.document.get("validation_due"))
        progress.state.stop_reason = held.document.get("stop_reason")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint lacks {error}, so no run can go on from it", str(path)
        ) from error


def restore_weights(path: Path, parts: Assembly) -> None:
    """Give the network the weights of `path`, and leave all else as it is."""
    weights = checkpoint.section(checkpoint.read(path).tensors, "model.")
    _load_weights(parts.network, weights, path)


def _load_weights(network: Network, weights: dict[str, Tensor], path: Path) -> None:
    """Check all names, shapes and types, then load; a split network parts what was joined."""
    joined = dict(network.state_dict())
    checkpoint.copy_into(joined, weights, path)
    network.load_state_dict(joined)
