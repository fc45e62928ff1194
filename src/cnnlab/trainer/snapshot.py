"""A training run <-> the tensors and the document of one checkpoint; reads and writes no file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab import __version__, checkpoint, stored_weights
from cnnlab.checkpoint import Checkpoint
from cnnlab.config import to_plain
from cnnlab.config.ema import EMA, RAW
from cnnlab.data.recorded import state_of
from cnnlab.errors import CheckpointError
from cnnlab.models import Network
from cnnlab.stored_weights import PREFIXES
from cnnlab.trainer.assemble import Assembly
from cnnlab.training.hooks import Best, RunningLoss
from cnnlab.training.loop import TrainState
from cnnlab.training.optimizers import load_optimizer_tensors, optimizer_tensors

NUM_AVERAGED = "averaging.num_updates"
"""Name of the tensor beside the average of the weights."""

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
        state = TrainState(parts.trained, parts.optimizer)
        return cls(state, RunningLoss(parts.device), Best(), {})


def take(parts: Assembly, progress: Progress) -> Checkpoint:
    """Return the run as it is now, as one process has it; its tensors are live, not copied.

    Every process calls it: what they have shared out among them is gathered.
    """
    parts.gather_weights()
    weights = _named(parts.network, PREFIXES[RAW])
    if parts.average is not None:
        weights |= _named(parts.average.network, PREFIXES[EMA])
        weights[NUM_AVERAGED] = torch.tensor(parts.average.num_updates)
    input_tensors, _ = parts.preprocessing.state()
    own_state = optimizer_tensors(progress.state.optimizer, parts.trained)
    tensors = (
        weights
        | parts.update.scheme.whole_state(own_state)
        | input_tensors
        | progress.running_loss.tensors()
    )
    return Checkpoint(tensors, _document(parts, progress))


def _named(network: Network, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


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
    _restore_average(found, path, parts)
    own_state = parts.update.scheme.own_state(found.tensors)
    load_optimizer_tensors(parts.optimizer, parts.trained, own_state)

    document, running_loss, best = found.document, RunningLoss(parts.device), Best()
    try:
        running_loss.load_tensors(found.tensors)
        best.load_state_dict(document["best"])
        parts.schedule.load_state_dict(document["schedule"])
        step, reason = int(document["step"]), document.get("stop_reason")
        state = TrainState(parts.trained, parts.optimizer, step, reason)
        due = bool(document.get("validation_due"))
        return Progress(state, running_loss, best, dict(document["metrics"]), due)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint lacks {error}, so no run can continue from it", str(path)
        ) from error


def _restore_average(found: Checkpoint, path: Path, parts: Assembly) -> None:
    """Restore the average of the weights; it begins here where the run has kept none so far."""
    if parts.average is None:
        return
    if NUM_AVERAGED not in found.tensors:
        parts.average.restart()
        return
    restore_weights(found, path, parts.average.network, EMA)
    parts.average.num_updates = int(found.tensors[NUM_AVERAGED])


def restore_weights(
    found: Checkpoint, path: Path, network: Network, which_weights: str = RAW
) -> None:
    """Copy the checkpoint's weights into the network, after names, shapes and types were checked.

    A network on two devices hands out joined tensors, and splits them again as it loads them.
    """
    joined = dict(network.state_dict())
    checkpoint.copy_into(joined, stored_weights.chosen(found, which_weights, path)[1], path)
    network.load_state_dict(joined)
