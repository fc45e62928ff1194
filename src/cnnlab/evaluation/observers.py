"""What an evaluation keeps beside its counts: the worst misses, or every probability on disk."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

NUM_MISSES = 24
"""Wrong answers shown in a report."""


@dataclass(frozen=True)
class Miss:
    """A wrong answer: the image's place in its split, and what was thought of it."""

    index: int
    label: int
    predicted: int
    confidence: float
    label_chance: float


@dataclass
class WorstMisses:
    """Keep the `number` wrong answers given with the most confidence; ties: the earlier image.

    weights: float32 [M], of the members; None: equal.
    """

    number: int
    weights: Tensor | None = None
    _found: list[Miss] = field(default_factory=list)
    _seen: int = 0

    def __call__(self, labels: Tensor, chances: Tensor) -> None:
        averaged, labels = self._averaged(chances.mean(2)).cpu(), labels.cpu()
        confidences, predicted = averaged.max(1)
        label_chances = averaged.gather(1, labels[:, None])[:, 0]
        wrong = (predicted != labels).nonzero()[:, 0]
        most = confidences[wrong].sort(descending=True, stable=True).indices[: self.number]
        for i in wrong[most].tolist():
            self._found.append(
                Miss(
                    self._seen + i,
                    int(labels[i]),
                    int(predicted[i]),
                    float(confidences[i]),
                    float(label_chances[i]),
                )
            )
        self._seen += len(labels)
        self._found.sort(key=lambda miss: (-miss.confidence, miss.index))
        del self._found[self.number :]

    def _averaged(self, chances: Tensor) -> Tensor:
        if self.weights is None:
            return chances.mean(1)
        return torch.einsum("nmk,m->nk", chances, self.weights.to(chances.device))

    @property
    def misses(self) -> list[Miss]:
        """The most confident first."""
        return list(self._found)


class SavedProbabilities:
    """Write every probability to `probabilities.npy`, float32 [N,M,V,K], as it comes.

    labels.npy, int64 [N], lies beside it: any subset of members and views is then an array sum.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        self._folder, self._num_images = folder, num_images
        self._array: np.memmap | None = None
        self._labels = np.zeros(num_images, dtype=np.int64)
        self._seen = 0

    def __call__(self, labels: Tensor, chances: Tensor) -> None:
        if self._array is None:
            self._array = np.lib.format.open_memmap(
                self._folder / "probabilities.npy",
                mode="w+",
                dtype=np.float32,
                shape=(self._num_images, *chances.shape[1:]),
            )
        stop = self._seen + len(labels)
        self._array[self._seen : stop] = chances.cpu().numpy()
        self._labels[self._seen : stop] = labels.cpu().numpy()
        self._seen = stop

    def close(self) -> None:
        """Bring everything to disk."""
        if self._array is not None:
            self._array.flush()
        np.save(self._folder / "labels.npy", self._labels)
