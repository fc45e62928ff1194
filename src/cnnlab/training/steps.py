"""One update: forward, backward, norm, clip, guard, update; nothing waits for the device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from cnnlab.distributed.share import Share
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.training.losses import NetworkLoss
from cnnlab.training.non_finite_guard import NonFiniteGuard


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Return the norm over all gradients; `get_total_norm` takes twice as long for small ones."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if len({gradient.device for gradient in gradients}) > 1:
        return get_total_norm(gradients)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


@dataclass(frozen=True)
class SharedUpdate:
    """How several processes make one update, each from its rows of the global batch.

    masks: whose dropout masks this process draws. sum_gradients: (parameters, loss) -> loss of all
    processes; sums gradients in place. num_images_at: step -> images of the global batch. norm:
    parameters -> norm over their gradients, the same in all processes.
    """

    masks: Share
    sum_gradients: Callable[[Sequence[Tensor], Tensor], Tensor]
    num_images_at: Callable[[int], int]
    norm: Callable[[Sequence[Tensor]], Tensor] = gradient_norm


@dataclass
class TrainStep:
    """Make one update from a batch, computed in `num_parts` parts one after another.

    Parts need less memory; their gradients add up to those of the whole batch, also where the last
    part or the batch is short. Batch normalization, where a network has it, sees each part alone.

    compute_loss: (network, images, labels) -> loss summed over the images. seed_dropout: takes the
    number of the forward pass since the start of training. precision: makes the context of a
    forward pass. clip_gradient_norm: the largest norm over all parameters that a gradient keeps.
    """

    compute_loss: NetworkLoss
    guard: NonFiniteGuard
    seed_dropout: Callable[[int], None]
    precision: Callable[[], AbstractContextManager[object]] = nullcontext
    num_parts: int = 1
    clip_gradient_norm: float | None = None
    processes: SharedUpdate | None = None

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state` with images [N,C,H,W], ready for it, and labels [N]."""
        num_images = len(labels)
        if self.processes is not None:
            num_images = self.processes.num_images_at(state.step)

        loss, norm = self.gradients(state, images, labels, num_images)
        self.guard.note(loss, norm, state.optimizer)
        state.optimizer.step()
        return StepReport(loss, norm, num_images)

    def gradients(
        self, state: TrainState, images: Tensor, labels: Tensor, num_images: int
    ) -> tuple[Tensor, Tensor]:
        """Give each trained parameter its gradient, clipped; return loss and norm before clipping.

        All of it runs on the device, the guard's look at both numbers included.
        num_images: of the global batch. Divided by it, the losses of parts and of processes add up.
        """
        trained = [p for group in state.optimizer.param_groups for p in group["params"]]
        for parameter in trained:
            parameter.grad = None  # optimizer.zero_grad takes ten times as long

        losses = []
        parts = [(images, labels)] if self.num_parts == 1 else self._parts(images, labels)
        for index, (part, part_labels) in enumerate(parts):
            self.seed_dropout(state.step * self.num_parts + index)
            with self.precision():
                loss = self.compute_loss(state.model, part, part_labels) / num_images
            loss.backward()
            losses.append(loss.detach())
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()

        if self.processes is not None:
            loss = self.processes.sum_gradients(trained, loss)
        norm_of = gradient_norm if self.processes is None else self.processes.norm
        norm = norm_of(trained)
        if self.clip_gradient_norm is not None:
            clip(trained, self.clip_gradient_norm, norm)
        self.guard.look(loss, norm)
        return loss, norm

    def _parts(self, images: Tensor, labels: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        return list(zip(images.chunk(self.num_parts), labels.chunk(self.num_parts), strict=True))


def clip(parameters: Sequence[Tensor], max_norm: float, norm: Tensor) -> None:
    """Scale gradients whose norm over all of them exceeds `max_norm` to it, in place.

    `clip_grads_with_norm_` bit for bit, as one operation where all are on one device.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if len({gradient.device for gradient in gradients}) > 1:
        clip_grads_with_norm_(parameters, max_norm, norm)
    else:
        torch._foreach_mul_(gradients, torch.clamp(max_norm / (norm + 1e-6), max=1.0))
