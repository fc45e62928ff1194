"""The training loop: a state, an endless batch iterator, a learning rate and callables."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass
class TrainState:
    """What training changes: the eager model, its optimizer, and the number of updates made.

    A hook ends training by setting `stop_reason`.
    """

    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """The metrics of one update; the tensors stay on the device until a hook reads them.

    loss: mean over the batch. gradient_norm: before clipping. Both are detached scalars.
    """

    loss: Tensor
    gradient_norm: Tensor
    num_images: int


Batches = Iterator[tuple[Tensor, Tensor]]
Step = Callable[[TrainState, Tensor, Tensor], StepReport]
Hook = Callable[[TrainState, StepReport], None]


def fit(
    state: TrainState,
    batches: Batches,
    step: Step,
    rate_at: Callable[[int], float],
    hooks: Iterable[Hook],
    total_steps: int,
) -> None:
    """Train until `total_steps` updates were made or a hook sets `state.stop_reason`.

    batches: images on the device, ready for the model, and labels; the first batch is that of
    `state.step`. rate_at: step -> factor of each parameter group's base rate. Hooks run after
    every update in the order given, and leave the model in train mode.
    """
    state.model.train()
    while state.step < total_steps and state.stop_reason is None:
        images, labels = next(batches)
        set_rates(state.optimizer, state.step, rate_at(state.step))
        report = step(state, images, labels)
        state.step += 1

        for hook in hooks:
            hook(state, report)


def set_rates(optimizer: Optimizer, step: int, factor: float) -> None:
    """Set the learning rate of every parameter group to `factor` times its base rate.

    A group with `own_fractions`, (step, fraction) in order, has those instead from their steps on.
    """
    for group in optimizer.param_groups:
        own = factor
        for start, fraction in group.get("own_fractions", ()):
            if step >= start:
                own = fraction
        group["lr"] = own * group["base_rate"]
