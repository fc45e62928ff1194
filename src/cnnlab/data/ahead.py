"""Augmentation parameters of many training steps, drawn at once and copied to the GPU at once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.augment import rows_of
from cnnlab.data.upload import tensors_of, upload_together
from cnnlab.distributed.share import RankSlice

STEPS_AHEAD = 64
BYTES_AHEAD = 8 << 20
"""Of parameters in one block, unless those of a single step are more: 4 to 32 an image."""


class DrawnAhead:
    """The parameters of any training step on the device, of which those that follow are drawn too.

    What is drawn for a step depends on the step alone, so where a block begins changes nothing. The
    first blocks are short: whoever wants one batch, for a picture, does not pay for 64. A block is
    a new tensor on the device, so none is overwritten while a step that uses it is in the queue.

    draw: (step, side of the images, own rows) -> parameters of the own images, on the CPU.
    rows_at: step -> which rows of its global batch are this process's own.
    """

    def __init__(
        self, draw: Callable[[int, int, RankSlice], Any], rows_at: Callable[[int], RankSlice]
    ) -> None:
        self._draw, self._rows_at = draw, rows_at
        self._num_steps = 0
        self._rows: dict[int, slice] = {}
        self._block: Any = None

    def at(self, step: int, images: Tensor) -> Any:
        """Return the parameters of the step's images [n,C,S,S], on their device."""
        if step not in self._rows:
            self._fill(step, images.shape[-1], images.device)
        return rows_of(self._block, self._rows[step])

    def _fill(self, first_step: int, side: int, device: torch.device) -> None:
        """Draw a block of steps; it is one copy to the device."""
        self._num_steps = min(2 * self._num_steps or 1, STEPS_AHEAD)
        self._rows, drawn, num_rows, num_bytes = {}, [], 0, 0

        for step in range(first_step, first_step + self._num_steps):
            own = self._rows_at(step)
            drawn.append(self._draw(step, side, own))
            stop = num_rows + len(own)
            self._rows[step], num_rows = slice(num_rows, stop), stop

            num_bytes += sum(tensor.nbytes for tensor in tensors_of(drawn[-1]))
            if num_bytes >= BYTES_AHEAD:
                break
        self._block = upload_together(_joined(drawn), device)


def _joined(drawn: Sequence[Any]) -> Any:
    """Return the parameters of several batches as those of one batch of all their images."""
    if drawn[0] is None:
        return None
    if isinstance(drawn[0], tuple):
        return tuple(_joined(parts) for parts in zip(*drawn, strict=True))
    return torch.cat(list(drawn))
