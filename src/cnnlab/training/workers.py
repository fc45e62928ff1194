"""What K workers compute in one update: assembled batches for fully connected layers, or in turn.

Both wrap a TrainStep, of which they replace the loss, and leave the loop as it is.
Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.distributed.share import Share
from cnnlab.errors import UsageError
from cnnlab.training.loop import Step, StepReport, TrainState
from cnnlab.training.steps import TrainStep, clip, gradient_norm

Assemble = Callable[[Tensor, int], Tensor]
"""(own rows of a batch, rows of the whole batch) -> all rows."""


class WorkersInTurn:
    """One process computes the loss of each of K data-parallel workers, with that worker's masks.

    Equal to K processes up to the order of sums. seed_masks: for each worker, what seeds its
    dropout; takes the number of the update.
    """

    def __init__(
        self, step: Step, train_step: TrainStep, seed_masks: Sequence[Callable[[int], None]]
    ) -> None:
        self._step, self._seed_masks = step, seed_masks
        self._compute_loss = train_step.compute_loss
        self._number = 0
        train_step.compute_loss = self._loss_of_all

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, as `TrainStep` does."""
        self._number = state.step
        return self._step(state, images, labels)

    def _loss_of_all(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        losses = []
        for rank, rows in _shares(len(images), len(self._seed_masks)):
            self._seed_masks[rank](self._number)
            losses.append(self._compute_loss(network, images[rows], labels[rows]))
        return torch.stack(losses).sum()


class AssembledStep:
    """Updates in which the fully connected layers see the batches of all workers at once.

    The features of all rows are computed first, by each process for its own or here for
    `num_workers` in turn. With `fc_batch` the fully connected layers are then updated after each
    so many images, by the mean gradient over them, while the gradient of the features is collected:
    the convolutions are updated once, by the mean over the whole batch. That is the paper's (m, n),
    m the batch and n `fc_batch`; for m = n it is the plain update, bit for bit. With more than one
    update each is clipped by the norm over the parameters that it changes, and the norm that is
    reported is that of the convolutions.

    network: as it is trained. assemble, num_images_at: of several processes. Raises UsageError for
    fc_batch where convolutions or fully connected layers are frozen.
    """

    def __init__(
        self,
        step: Step,
        train_step: TrainStep,
        network: Any,
        *,
        assemble: Assemble = lambda own, total: own,
        num_workers: int = 1,
        fc_batch: int | None = None,
    ) -> None:
        self._step, self._train_step = step, train_step
        self._features, self._classifier = network.parted()
        self._assemble, self._num_workers, self._fc_batch = assemble, num_workers, fc_batch
        self._fc = [p for p in self._classifier.parameters() if p.requires_grad]
        if fc_batch is not None:
            _check_trained(self._features, self._fc)

        self._compute_loss = train_step.compute_loss
        self._state: TrainState | None = None
        train_step.compute_loss = self._loss

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state` with this process's rows of the batch."""
        self._state = state
        return self._step(state, images, labels)

    def _loss(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the rows of all processes."""
        assert self._state is not None
        processes, total = self._train_step.processes, len(labels)
        if processes is not None:
            total = processes.num_images_at(self._state.step)

        own = [self._features(images[rows]) for _, rows in _shares(len(images), self._num_workers)]
        features = self._assemble(own[0] if len(own) == 1 else torch.cat(own), total)
        labels = self._assemble(labels, total)
        if self._fc_batch is None:
            return self._compute_loss(self._classifier, features, labels)
        return self._updating_loss(features, labels, self._fc_batch, self._state)

    def _updating_loss(
        self, features: Tensor, labels: Tensor, fc_batch: int, state: TrainState
    ) -> Tensor:
        """Update the fully connected layers after each `fc_batch` rows; return the summed loss.

        Its gradient reaches the features alone.
        """
        losses, gradients = [], []
        parts = zip(features.detach().split(fc_batch), labels.split(fc_batch), strict=True)
        for part, part_labels in parts:
            part.requires_grad_()
            loss = self._compute_loss(self._classifier, part, part_labels)
            with torch.autocast(part.device.type, enabled=False):  # backward passes run outside
                (loss / len(part)).backward()
            assert part.grad is not None
            gradients.append(part.grad * len(part))

            # a norm that is not finite shows in the loss, which the guard keeps for each step
            norm = self._update(loss.detach(), state)
            losses.append(loss.detach() + 0 * norm)
        return _WithGradient.apply(features, torch.cat(gradients), torch.stack(losses).sum())

    def _update(self, loss: Tensor, state: TrainState) -> Tensor:
        """Update the fully connected layers, which alone have gradients now; return their norm."""
        step = self._train_step
        norm = gradient_norm(self._fc) if step.processes is None else step.processes.norm(self._fc)
        if step.clip_gradient_norm is not None:
            clip(self._fc, step.clip_gradient_norm, norm)

        step.guard.look(loss, norm)
        step.guard.show(state.optimizer)
        state.optimizer.step()
        for parameter in self._fc:
            parameter.grad = None
        torch.clear_autocast_cache()  # which holds the weights in bf16 as they were
        return norm


class _WithGradient(torch.autograd.Function):
    """A value whose gradient with respect to some tensor is known already."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        """Return the value."""
        ctx.save_for_backward(gradient)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the known gradient times the one that arrives."""
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None


def _shares(total: int, num_workers: int) -> Iterator[tuple[int, slice]]:
    """Yield the rows of each worker that has any, with its rank; all where there is one worker."""
    if num_workers == 1:
        yield 0, slice(None)
        return
    for rank in range(num_workers):
        share = Share(rank, num_workers).slice_of(total)
        if len(share):
            yield rank, share.rows


def _check_trained(features: nn.Module, fc: Sequence[Tensor]) -> None:
    frozen = "" if fc else "fully connected layers"
    if not any(p.requires_grad for p in features.parameters()):
        frozen = "convolutions"
    if frozen:
        raise UsageError(
            f"distributed.fc_batch has no effect where the {frozen} are not trained",
            hint="leave it out, or change model.train_layers",
        )
