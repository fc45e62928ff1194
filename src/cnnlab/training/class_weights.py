"""Class weights: what an image counts in the training loss, by its class, for uneven sets."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cnnlab.errors import UsageError
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.steps import TrainStep

BALANCED = "balanced"


def class_weights(
    setting: str | Sequence[float], labels: Tensor, class_names: Sequence[str]
) -> Tensor:
    """Return the weight of each class, float64 [K] on the CPU.

    setting: a number per class in the order of `class_names`, or `balanced`: inversely proportional
    to the number of images, N / (K * images of the class), so that their mean over the images is 1.
    labels: int64 [N] of the training images. Raises UsageError for a list of another length, and
    for `balanced` where a class has no image.
    """
    if setting == BALANCED:
        counts = labels.bincount(minlength=len(class_names)).double()
        if bool((counts == 0).any()):
            name = class_names[int(counts.argmin())]
            raise UsageError(
                f"loss.class_weights=balanced: class '{name}' has no training image",
                hint="give the weights as a list, one number per class",
            )
        return len(labels) / (len(counts) * counts)

    if len(setting) != len(class_names):
        raise UsageError(
            f"loss.class_weights has {len(setting)} numbers for {len(class_names)} classes",
            hint="one number per class, in the order of the class names, or balanced",
        )
    return torch.tensor(setting, dtype=torch.float64)


class WeightedStep:
    """Make updates whose loss is the weighted mean over the batch, sum of w l / sum of w.

    That is torch.nn.CrossEntropyLoss(weight=..., reduction="mean") of the whole batch, also where
    it is computed in parts or by several processes: `step` divides by the number of images, so its
    loss, a weighted sum, is multiplied by that number over the sum of the weights. Both are of the
    global batch, which every process knows from its labels.

    step: its loss weights the images. labels_of: epoch -> the labels of each of its global batches,
    int64 on the CPU.
    """

    def __init__(
        self,
        step: TrainStep,
        weights: Tensor,
        labels_of: Callable[[int], Sequence[Tensor]],
        steps_per_epoch: int,
    ) -> None:
        self._step, self._weights, self._labels_of = step, weights, labels_of
        self._steps_per_epoch = steps_per_epoch
        self._epoch, self._factors = -1, [1.0]
        self._factor = 1.0

        weighted_sum = step.compute_loss

        # outside of what may be compiled: a new number would be a new graph
        def compute_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            return weighted_sum(network, images, labels) * self._factor

        step.compute_loss = compute_loss

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, as `TrainStep` does."""
        epoch, place = divmod(state.step, self._steps_per_epoch)
        if epoch != self._epoch:
            batches = self._labels_of(epoch)
            self._factors = [len(batch) / float(self._weights[batch].sum()) for batch in batches]
            self._epoch = epoch
        self._factor = self._factors[place]
        return self._step(state, images, labels)
