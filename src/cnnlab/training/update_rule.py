"""What our own update rules share: parameter groups, and a guard that stops an update."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class UpdateRule(Optimizer):
    """With `found_inf` set to 1 on the device nothing changes, as in torch's fused optimizers.

    `Latch` sets it before every update, so each rule must respect it: tests/training/test_latch.py
    goes through the table of rules.
    """

    found_inf: Tensor | None = None

    def empty_state(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
        """Return the state of a parameter before its first update, which checkpoints hold too."""
        return {}

    add_param_group = getattr(Optimizer.add_param_group, "__wrapped__", Optimizer.add_param_group)
    """As it is without a wrapper that imports torch's compiler: two seconds of each start."""
