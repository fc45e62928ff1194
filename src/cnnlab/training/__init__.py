"""Training: the loop, what a step does, update rules, rates, and what happens every n steps.

Read loop.py first; then steps.py, optimizers.py, schedules.py, hooks.py.
"""

import torch

from cnnlab.config.training import TrainerConfig
from cnnlab.runtime import dropout_seeder, forward_precision
from cnnlab.training import losses, steps
from cnnlab.training.latch import Latch
from cnnlab.training.loop import Step


def build_step(
    config: TrainerConfig, *, device: torch.device, precision: str, seed: int
) -> tuple[Step, Latch]:
    """Return the step that `config` describes, and the latch that guards it.

    The host must ask the latch now and then: `latch.check(state)` raises NumericsError.
    """
    recipe = steps.Recipe(
        loss=losses.build("cross_entropy"),
        precision=forward_precision(precision, device),
        seed_dropout=dropout_seeder(seed, device),
        parts=config.accumulate,
    )
    latch = Latch(device)
    name = "plain" if config.accumulate == 1 else "accumulating"
    clip = config.clip_gradient_norm
    return steps.build(name, recipe, latch=latch, clip_gradient_norm=clip), latch
