"""Probabilities of a network: finite, or an error. Every softmax outside training is here."""

import torch
from torch import Tensor

from cnnlab.errors import NumericsError

SCORES = "the network's scores are"


def probabilities(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension, at least float32: NaN for infinite scores.

    For callers that collect many batches before they wait for the device; they must call
    `check_finite`. A single infinite score makes its whole row NaN, so none is missed.
    """
    wide = scores if scores.dtype is torch.float64 else scores.float()
    return wide.softmax(-1)


def checked_probabilities(scores: Tensor) -> Tensor:
    """Return the softmax over the last dimension, at least float32. Raises NumericsError."""
    found = probabilities(scores)
    check_finite(found)
    return found


def check_finite(values: Tensor, what: str = SCORES) -> None:
    """Raise NumericsError unless every value is finite. Waits for the device.

    what: the subject and verb of the message.
    """
    if not bool(torch.isfinite(values).all()):
        raise NumericsError(
            f"{what} not finite", hint="weights or activations overflow: try an earlier checkpoint"
        )
