"""Training: the loop, what a step does, update rules, rates, and what happens every n steps.

Read loop.py first; then steps.py, optimizers.py, schedules.py, hooks.py.
"""

from dataclasses import dataclass

import torch

from cnnlab import compiling
from cnnlab.config.training import TrainerConfig
from cnnlab.distributed.share import WHOLE, Share
from cnnlab.runtime import dropout_seeder, forward_precision
from cnnlab.training import losses, steps
from cnnlab.training.latch import Latch
from cnnlab.training.loop import Step


@dataclass(frozen=True)
class Together:
    """How an update is shared by several processes; by default there is one.

    combine: adds up gradients and loss. num_images: (step, labels) -> images of all processes.
    """

    share: Share = WHOLE
    combine: steps.Combine = steps.alone
    num_images: steps.NumImages = steps.own_count


def build_step(
    config: TrainerConfig,
    *,
    device: torch.device,
    precision: str,
    seed: int,
    together: Together = Together(),
    loss: str = "cross_entropy",
    compiled: bool = False,
) -> tuple[Step, Latch]:
    """Return the step that `config` describes, and the latch that guards it.

    compiled: compute the loss forward and back as one graph for each size of a batch.
    Each process draws dropout masks of its own. The host must ask the latch now and then:
    `latch.check(state)` raises NumericsError.
    """
    recipe = steps.Recipe(
        loss=losses.build(loss),
        precision=forward_precision(precision, device),
        seed_dropout=_own_dropout(dropout_seeder(seed, device), together.share),
        parts=config.accumulate,
        num_images=together.num_images,
        compiler=compiling.compiled if compiled else steps.as_written,
    )
    latch = Latch(device)
    name = "plain" if config.accumulate == 1 else "accumulating"
    clip = config.clip_gradient_norm
    step = steps.build(name, recipe, latch=latch, clip_gradient_norm=clip, combine=together.combine)
    return step, latch


def _own_dropout(seed_dropout: steps.SeedDropout, share: Share) -> steps.SeedDropout:
    """Number the forward passes of all processes, so that no two have the same masks."""
    return lambda index: seed_dropout(index * share.size + share.rank)
