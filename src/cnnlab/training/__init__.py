"""Training: the loop, one update, update rules, rates, and what happens every n steps.

Read loop.py first; then steps.py, optimizers.py, schedules.py, hooks.py.
"""

import torch

from cnnlab import compiling
from cnnlab.config.training import TrainerConfig
from cnnlab.distributed.share import WHOLE
from cnnlab.runtime import dropout_seeder, forward_precision
from cnnlab.training import losses
from cnnlab.training.losses import Loss
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import SharedUpdate, TrainStep


def build_step(
    config: TrainerConfig,
    *,
    device: torch.device,
    precision: str,
    seed: int,
    loss: Loss = losses.cross_entropy,
    compiled: bool = False,
    processes: SharedUpdate | None = None,
) -> TrainStep:
    """Return the training step that `config` describes.

    compiled: compute the loss, forward and backward, as one graph for each batch size. processes:
    those that share the update, and whose dropout masks this one draws. The caller must run
    `step.guard.check(state)` now and then, which raises NumericsError.
    """
    compute_loss = losses.of_network(loss)
    masks = WHOLE if processes is None else processes.masks
    return TrainStep(
        compute_loss=compiling.compiled(compute_loss) if compiled else compute_loss,
        guard=NonFiniteGuard(device),
        seed_dropout=dropout_seeder(seed, device, masks.rank, masks.size),
        precision=forward_precision(precision, device),
        num_parts=config.accumulate,
        clip_gradient_norm=config.clip_gradient_norm,
        processes=processes,
    )
