"""What one update does: forward, backward, norm, clip, latch, apply; nothing waits for the device.

The table STEPS names the ways to compute the gradients of a batch. What follows them is the same
for all.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from cnnlab.errors import UsageError
from cnnlab.training.latch import Latch
from cnnlab.training.loop import Step, StepReport, TrainState
from cnnlab.training.losses import Loss

Precision = Callable[[], AbstractContextManager]
SeedDropout = Callable[[int], None]
NumImages = Callable[[int, Tensor], int]
Combine = Callable[[Sequence[Tensor], Tensor], Tensor]
ComputeLoss = Callable[[nn.Module, Tensor, Tensor], Tensor]
ComputeGradients = Callable[[nn.Module, Tensor, Tensor, int, int], Tensor]
"""(model, images, labels, step, images of the whole update) -> loss, detached."""


def own_count(step: int, labels: Tensor) -> int:
    """Return how many images an update sees when one process sees them all."""
    return len(labels)


def alone(parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
    """Leave gradients and loss as they are: one process has all of them."""
    return loss


def as_written(compute: ComputeLoss) -> ComputeLoss:
    """Leave a computation to be run line by line."""
    return compute


@dataclass(frozen=True)
class Recipe:
    """What the ways to compute gradients are built from.

    precision: makes the context of a forward pass. seed_dropout: takes the number of the forward
    pass since the start of training. parts: forward passes per update. num_images: (step, labels)
    -> images of the whole update, of which other processes may have the rest. compiler: turns the
    computation of the loss into a faster one of the same values.
    """

    loss: Loss
    precision: Precision
    seed_dropout: SeedDropout
    parts: int = 1
    num_images: NumImages = own_count
    compiler: Callable[[ComputeLoss], ComputeLoss] = as_written

    def compute_loss(self) -> ComputeLoss:
        """Return (model, images, labels) -> the loss, summed over the images."""

        def compute(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            return self.loss(model(images), labels)

        return self.compiler(compute)


def plain(recipe: Recipe) -> ComputeGradients:
    """Compute the batch at once."""
    compute_loss = recipe.compute_loss()

    def compute(
        model: nn.Module, images: Tensor, labels: Tensor, step: int, num_images: int
    ) -> Tensor:
        recipe.seed_dropout(step)
        with recipe.precision():
            loss = compute_loss(model, images, labels) / num_images
        loss.backward()
        return loss.detach()

    return compute


def accumulating(recipe: Recipe) -> ComputeGradients:
    """Compute the batch in parts, one after another, for less memory.

    Each part's loss is its sum divided by the count of the whole batch, so the gradients add up to
    the plain step's, also when the last part or the batch is short. Batch statistics, where a
    model has them, and dropout masks are those of the parts.
    """
    compute_loss = recipe.compute_loss()

    def compute(
        model: nn.Module, images: Tensor, labels: Tensor, step: int, num_images: int
    ) -> Tensor:
        losses = []
        parts = zip(images.chunk(recipe.parts), labels.chunk(recipe.parts), strict=True)
        for index, (some_images, some_labels) in enumerate(parts):
            recipe.seed_dropout(step * recipe.parts + index)
            with recipe.precision():
                loss = compute_loss(model, some_images, some_labels) / num_images
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    return compute


STEPS: dict[str, Callable[[Recipe], ComputeGradients]] = {
    "plain": plain,
    "accumulating": accumulating,
}


def build(
    name: str,
    recipe: Recipe,
    *,
    latch: Latch,
    clip_gradient_norm: float | None = None,
    combine: Combine = alone,
) -> Step:
    """Return the step that computes gradients in the way called `name` and applies them.

    The gradient's norm is taken over all parameters, before clipping to `clip_gradient_norm`.
    combine: adds up gradients, in place, and the loss over the processes of a job.
    From the first non-finite loss or norm on, `latch` keeps the parameters as they are.
    """
    if name not in STEPS:
        raise UsageError(f"there is no step {name!r}", hint=f"one of {', '.join(STEPS)}")
    compute = STEPS[name](recipe)

    def step(state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        trained = []
        for group in state.optimizer.param_groups:
            for parameter in group["params"]:  # optimizer.zero_grad takes ten times as long
                parameter.grad = None
                trained.append(parameter)
        num_images = recipe.num_images(state.step, labels)
        loss = compute(state.model, images, labels, state.step, num_images)
        loss = combine(trained, loss)
        norm = _norm([p.grad for p in trained if p.grad is not None])
        if clip_gradient_norm is not None:
            clip_grads_with_norm_(trained, clip_gradient_norm, norm)
        latch.watch(loss, norm, state.optimizer)
        state.optimizer.step()
        return StepReport(loss, norm, num_images)

    return step


def _norm(gradients: list[Tensor]) -> Tensor:
    """Return the norm over all gradients; `get_total_norm` takes twice as long for small ones."""
    if len({gradient.device for gradient in gradients}) > 1:
        return get_total_norm(gradients)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
