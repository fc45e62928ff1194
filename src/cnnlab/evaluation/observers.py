"""What an evaluation keeps besides its counts: the worst misses, every probability on disk."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.files import regular

NUM_MISSES = 24
"""Misclassified images shown in a report."""

NUM_LIKELIEST = 3
"""Classes that are kept of each image; ties: the one with the lower index."""


@dataclass(frozen=True)
class Miss:
    """A misclassified image: its index in the split, and its prediction.

    next_likely: the classes after the predicted one, each with its probability.
    """

    index: int
    label: int
    predicted: int
    confidence: float
    label_probability: float
    next_likely: tuple[tuple[int, float], ...] = ()

    @property
    def likeliest(self) -> tuple[tuple[int, float], ...]:
        """The predicted class and those after it, each with its probability."""
        return ((self.predicted, self.confidence), *self.next_likely)


@dataclass
class WorstMisses:
    """Keep the `number` misclassified images of most confidence; ties: the earlier image.

    Until they are asked for, a few numbers of each image stay on the device, which nothing waits
    for. weights: float32 [M], of the members; None: equal.
    """

    number: int
    weights: Tensor | None = None
    _batches: list[tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)
    """Labels [N], classes and their probabilities [N,3], probability of the label [N]."""

    def __call__(self, labels: Tensor, probabilities: Tensor) -> None:
        """Add labels [N] and probabilities [N,M,V,K] of a batch."""
        averaged = self._averaged(probabilities.mean(2))
        of_label = averaged.gather(1, labels[:, None])[:, 0]
        classes, probabilities = _likeliest(averaged)
        self._batches.append((labels, classes, probabilities, of_label))

    def _averaged(self, probabilities: Tensor) -> Tensor:
        if self.weights is None:
            return probabilities.mean(1)
        self.weights = self.weights.to(probabilities.device)  # of which all batches are
        return torch.einsum("nmk,m->nk", probabilities, self.weights)

    @property
    def misses(self) -> list[Miss]:
        """The most confident first; waits for the device."""
        if not self._batches:
            return []
        columns = [torch.cat(parts).cpu() for parts in zip(*self._batches, strict=True)]
        labels, classes, probabilities, of_label = columns
        predicted, confidences = classes[:, 0], probabilities[:, 0]

        wrong = (predicted != labels).nonzero()[:, 0]
        most = confidences[wrong].sort(descending=True, stable=True).indices[: self.number]
        worst = wrong[most]
        return [
            Miss(
                index,
                int(labels[index]),
                int(predicted[index]),
                float(confidences[index]),
                float(of_label[index]),
                tuple(
                    zip(classes[index, 1:].tolist(), probabilities[index, 1:].tolist(), strict=True)
                ),
            )
            for index in worst.tolist()
        ]


def _likeliest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the three most probable classes and their probabilities: [N,K] -> [N,3] each.

    By repeated maxima, which are faster than sorting, and place equal ones as `score` does.
    """
    left = probabilities.clone()
    classes: list[Tensor] = []
    values: list[Tensor] = []
    for _ in range(min(NUM_LIKELIEST, probabilities.shape[1])):
        largest, places = left.max(1)
        left.scatter_(1, places[:, None], -1)
        classes.append(places)
        values.append(largest)
    return torch.stack(classes, 1), torch.stack(values, 1)


class SavedProbabilities:
    """Write every probability to `probabilities.npy`, float32 [N,M,V,K], batch by batch.

    With labels.npy, int64 [N], the result of any subset of members and views is an array sum.
    """

    def __init__(self, folder: Path, num_images: int) -> None:
        self._folder, self._num_images = folder, num_images
        self._array: np.memmap | None = None
        self._labels = np.zeros(num_images, dtype=np.int64)
        self._seen = 0

    def __call__(self, labels: Tensor, probabilities: Tensor) -> None:
        """Add labels [N] and probabilities [N,M,V,K] of a batch."""
        if self._array is None:
            self._array = np.lib.format.open_memmap(
                regular.remove_before_writing(self._folder / "probabilities.npy"),
                mode="w+",
                dtype=np.float32,
                shape=(self._num_images, *probabilities.shape[1:]),
            )

        stop = self._seen + len(labels)
        self._array[self._seen : stop] = probabilities.cpu().numpy()
        self._labels[self._seen : stop] = labels.cpu().numpy()
        self._seen = stop

    def close(self) -> None:
        """Flush everything to disk."""
        if self._array is not None:
            self._array.flush()
        np.save(regular.remove_before_writing(self._folder / "labels.npy"), self._labels)
