"""Stochastic diagonal Levenberg-Marquardt: a learning rate for each weight.

w' = w - eta / (mu + h) * gradient, where h, the weight's second derivative, is estimated again on
a few hundred images before each pass.
Source: LeCun et al. 1998, appendix C. The paper updates after each single example and prints eta
for the gradient of one; here gradients are means over the batch, so eta grows with the batch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.errors import NumericsError
from cnnlab.runtime import to_device
from cnnlab.training.loop import Step, StepReport, TrainState
from cnnlab.training.update_rule import UpdateRule

Estimate = Callable[[nn.Module, int], dict[str, Tensor]]
"""(model, step) -> second derivatives by parameter name, none below 0."""


class DiagonalLevenbergMarquardt(UpdateRule):
    """Gradient descent with the rate lr / (damping + curvature) for each weight.

    The state `curvature` is filled by `set_curvature`.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, damping: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "damping": damping, "weight_decay": weight_decay})

    def empty_state(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
        return {"curvature": torch.zeros_like(parameter)}

    @torch.no_grad()
    def set_curvature(self, curvatures: dict[Tensor, Tensor]) -> None:
        """Keep the second derivative of each parameter in its state."""
        for parameter, curvature in curvatures.items():
            self._curvature(parameter).copy_(curvature)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue

            gradients = [weight.grad for weight in weights]
            if decay := group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
            rates = torch._foreach_add([self._curvature(w) for w in weights], group["damping"])
            torch._foreach_reciprocal_(rates)
            torch._foreach_mul_(rates, -group["lr"])

            if self.found_inf is not None:
                _zero_where(self.found_inf, [*rates, *gradients])
            torch._foreach_addcmul_(weights, rates, gradients)

    def _curvature(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "curvature" not in state:
            state["curvature"] = torch.zeros_like(parameter)
        curvature: Tensor = state["curvature"]
        return curvature


@dataclass(frozen=True)
class CurvatureStep:
    """A training step that estimates the curvature before the first update of each pass.

    The estimate is made from the weights as they are at that step, so a resumed run makes it
    again or finds it in the optimizer's state. Raises NumericsError, with nothing changed, where
    the estimate is not finite: no loss would show it before the weights are lost.
    """

    train_step: Step
    estimate: Estimate
    every_steps: int

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, with a new estimate where one is due."""
        if state.step % self.every_steps == 0:
            self._estimate(state)
        return self.train_step(state, images, labels)

    def _estimate(self, state: TrainState) -> None:
        curvatures = self.estimate(state.model, state.step)
        _check_finite(curvatures, state.step)

        assert isinstance(state.optimizer, DiagonalLevenbergMarquardt)
        parameters = dict(state.model.named_parameters())
        trained: dict[Tensor, Tensor] = {
            parameters[name]: curvature
            for name, curvature in curvatures.items()
            if parameters[name].requires_grad
        }
        state.optimizer.set_curvature(trained)


def _zero_where(found_inf: Tensor, tensors: list[Tensor]) -> None:
    """Make the update zero where `found_inf` is 1, on a GPU without asking the host.

    Both factors, because 0 times NaN is NaN.
    """
    skip = to_device(found_inf, tensors[0].device).bool()
    for tensor in tensors:
        tensor.masked_fill_(skip, 0.0)


def _check_finite(curvatures: dict[str, Tensor], step: int) -> None:
    are_finite = torch.stack([torch.isfinite(each).all() for each in curvatures.values()])
    for name, is_finite in zip(curvatures, are_finite.tolist(), strict=True):
        if not is_finite:
            raise NumericsError(
                f"the curvature of {name} is not finite at step {step}",
                hint="lower optimizer.learning_rate, or raise optimizer.damping",
            )
