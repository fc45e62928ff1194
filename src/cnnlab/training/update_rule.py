"""The base class of our own optimizers: it skips updates for the guard, and imports fast."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class UpdateRule(Optimizer):
    """An update rule that changes nothing while `found_inf` is 1, as torch's fused optimizers do.

    NonFiniteGuard sets it before every update, so each rule must respect it:
    tests/training/test_non_finite_guard.py goes through the table of rules.
    """

    found_inf: Tensor | None = None

    can_be_captured: bool = False
    """Whether a CUDA graph of `step` stays right for as long as the rates of all groups do."""

    def empty_state(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
        """Return the state of a parameter before its first update, which checkpoints hold too."""
        return {}

    add_param_group = getattr(Optimizer.add_param_group, "__wrapped__", Optimizer.add_param_group)
    """Without the wrapper that imports torch's compiler: two seconds of each start."""
