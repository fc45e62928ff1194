"""Any optimizer of torch as an update rule: skipped for the guard, its state saved and restored."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cnnlab.errors import UsageError
from cnnlab.training.update_rule import UpdateRule


class TorchRule(UpdateRule):
    """An optimizer that knows neither `found_inf` nor the state before its first update.

    It shares groups and state with that optimizer. On a GPU each update waits for the flag, as the
    optimizer itself cannot look at it.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.optimizer = optimizer
        self.param_groups, self.state = optimizer.param_groups, optimizer.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters, unless the loss or its gradient is not finite.

        Raises UsageError for state that is no tensor: a checkpoint could not hold it.
        """
        if self.found_inf is not None and bool(self.found_inf):
            return

        is_first = not self.state
        self.optimizer.step()
        if is_first:
            self._check_state()

    def _check_state(self) -> None:
        for state in self.state.values():
            for key, value in state.items():
                if not isinstance(value, Tensor):
                    raise UsageError(
                        f"the optimizer keeps a {type(value).__name__} in its state: '{key}'",
                        type(self.optimizer).__name__,
                        "make it a tensor, so that a checkpoint can hold it",
                    )

    def adopt(self, model: nn.Module, tensors: dict[str, Tensor]) -> None:
        """Take the state that a checkpoint has as `optimizer.<parameter>.<key>`."""
        for name, parameter in model.named_parameters():
            start = f"optimizer.{name}."
            for key in (key for key in tensors if key.startswith(start)):
                self.state[parameter][key.removeprefix(start)] = _like(parameter, tensors[key])


def _like(parameter: Tensor, stored: Tensor) -> Tensor:
    """Return a copy, of the parameter's shape in its memory format; a number stays on the CPU."""
    if stored.shape != parameter.shape:
        return stored.clone()
    return torch.empty_like(parameter, dtype=stored.dtype).copy_(stored)


def as_rule(optimizer: Any, name: str) -> Optimizer:
    """Return what an own builder made as an update rule. Raises UsageError where it made none."""
    if isinstance(optimizer, UpdateRule):
        return optimizer
    if not isinstance(optimizer, Optimizer):
        raise UsageError(
            f"the builder of optimizer '{name}' returns a {type(optimizer).__name__}",
            hint="it returns a torch.optim.Optimizer",
        )
    return TorchRule(optimizer)
