"""Losses as sums over images, so that parts of a batch add up to the whole.

A loss takes scores [N,K] (larger is better) and labels [N] int64, and returns a float32 scalar:
the sum over the N images. The step divides by the number of images of the whole batch.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the summed negative log-probability of the labels, in nats, in float32 or better.

    Source: the multinomial logistic objective of Krizhevsky et al. 2012, section 3.5.
    """
    if scores.dtype in HALF_PRECISIONS:
        scores = scores.float()
    return F.cross_entropy(scores, labels, reduction="sum")


HALF_PRECISIONS = (torch.bfloat16, torch.float16)

LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy}


def build(name: str) -> Loss:
    """Return the loss called `name`; raise UsageError for an unknown one."""
    if name not in LOSSES:
        raise UsageError(f"there is no loss {name!r}", hint=f"one of {', '.join(LOSSES)}")
    return LOSSES[name]
