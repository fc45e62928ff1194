"""Which weights of a checkpoint are taken: those that were trained, or their moving average."""

from pathlib import Path

from torch import Tensor

from cnnlab import checkpoint
from cnnlab.checkpoint import Checkpoint
from cnnlab.config.ema import EMA, KINDS, RAW
from cnnlab.errors import CheckpointError
from cnnlab.safe_output import escape_control

PREFIXES = {RAW: "model.", EMA: "ema."}
"""What the names of the tensors begin with."""


def judged(found: Checkpoint, where: str | Path) -> str:
    """Return which weights the training of a checkpoint judged; earlier runs had one kind only.

    Raises CheckpointError for a word that is neither.
    """
    config = found.document.get("config")
    which = config.get("which_weights", RAW) if isinstance(config, dict) else RAW
    if which not in KINDS:
        raise CheckpointError(
            "the checkpoint's description is damaged",
            escape_control(str(where)),
            f"which_weights is {escape_control(repr(which))}",
        )
    return str(which)


def chosen(
    found: Checkpoint, which: str | None, where: str | Path
) -> tuple[str, dict[str, Tensor]]:
    """Return which weights are taken, and the tensors by their names in the network.

    which: raw or ema; None: those that the training judged. Raises CheckpointError for a checkpoint
    without such weights.
    """
    kind = judged(found, where) if which is None else which
    tensors = checkpoint.section(found.tensors, PREFIXES[kind])
    if kind == EMA and not tensors:
        raise CheckpointError(
            f"which_weights=ema: {escape_control(str(where))} has no moving average of the weights"
        )
    return kind, tensors
