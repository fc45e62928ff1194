"""Clip the filters of convolutions after each update: `trainer.max_filter_rms`.

Source: Zeiler & Fergus 2014, section 3, with a limit of 0.1: a few filters of the first layer,
whose inputs are about -128 to 128, would dominate the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab.training.loop import Step, StepReport, TrainState

TOLERANCE = 1e-6
"""Relative excess that is left alone: a clipped filter is not clipped again for its rounding."""


@dataclass(frozen=True)
class FilterClipStep:
    """A training step that clips `filters` after its update; it keeps no state.

    filters: the weights of convolutions, [C', ...], one filter per row. Initial weights are clipped
    after the first update, like all others. Nothing waits for the device.
    """

    train_step: Step
    filters: Sequence[Tensor]
    max_rms: float

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, then clip."""
        report = self.train_step(state, images, labels)
        for weight in self.filters:
            clip_filters(weight, self.max_rms)
        return report


@torch.no_grad()
def clip_filters(weight: Tensor, max_rms: float) -> None:
    """Scale each row of `weight` whose root mean square exceeds `max_rms` to it, in place.

    weight: [C', ...], at least two dimensions. Rows within the limit keep every bit.
    """
    inputs = tuple(range(1, weight.dim()))
    norms = torch.linalg.vector_norm(weight, dim=inputs, keepdim=True)
    largest = max_rms * math.sqrt(weight[0].numel())
    factors = torch.where(norms > largest * (1 + TOLERANCE), largest / norms, 1.0)
    weight.mul_(factors)
