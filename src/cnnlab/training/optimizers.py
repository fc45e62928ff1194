"""Optimizers, and optimizer state by parameter name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from cnnlab.config.training import (
    OPTIMIZERS,
    AdamwConfig,
    LevenbergMarquardtConfig,
    OptimizerConfig,
    SgdConfig,
)
from cnnlab.errors import CheckpointError
from cnnlab.runtime import to_device
from cnnlab.training.levenberg_marquardt import DiagonalLevenbergMarquardt
from cnnlab.training.parameter_groups import parameter_groups
from cnnlab.training.torch_rule import TorchRule, as_rule
from cnnlab.training.update_rule import UpdateRule


class Sgd(UpdateRule):
    """SGD with momentum in torch's fused kernel, without the overhead of torch.optim around it.

    A group whose rate is 0 keeps its weights and its velocity, as in the released source of 2012.

    v' = momentum * v + weight_decay * w + gradient, w' = w - lr * v'. With `rate_in_velocity`
    v' = momentum * v + lr * (weight_decay * w + gradient), w' = w - v': the velocity keeps the
    rates at which it was accumulated, so a drop of the rate acts with a delay. v is the state
    `momentum_buffer`.
    Source of the second form: Krizhevsky et al. 2012, section 5, first two equations, -v for v. The
    gradient is the mean over the batch, as there.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        rate_in_velocity: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rate_in_velocity = rate_in_velocity

    def empty_state(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter)} if group["momentum"] else {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; those of a group are on one device."""
        for group in self.param_groups:
            if group["lr"] == 0:
                continue  # with the rate in the velocity, momentum would still move the weights
            weights: list[Tensor] = []
            gradients: list[Tensor] = []
            velocities: list[Tensor] = []
            for weight in group["params"]:
                if weight.grad is not None:
                    weights.append(weight)
                    gradients.append(weight.grad)
                    if group["momentum"]:
                        velocities.append(self.state[weight]["momentum_buffer"])

            if weights:
                self._update(group, weights, gradients, velocities)

    step.hooked = True  # type: ignore[attr-defined]
    """Keeps torch.optim from wrapping `step` with profiler marks and a search for hooks."""

    def _update(
        self,
        group: dict[str, Any],
        weights: list[Tensor],
        gradients: list[Tensor],
        velocities: list[Tensor],
    ) -> None:
        found_inf = self.found_inf
        if found_inf is not None and found_inf.device != weights[0].device:
            found_inf = to_device(found_inf, weights[0].device)

        rate, decay = group["lr"], group["weight_decay"]
        if self.rate_in_velocity:
            gradients = list(torch._foreach_mul(gradients, rate))
            rate, decay = 1.0, rate * decay

        settings: dict[str, Any] = {
            "lr": rate,
            "weight_decay": decay,
            "momentum": group["momentum"],
            "dampening": 0.0,
            "nesterov": False,
            "maximize": False,
            "grad_scale": None,
            "found_inf": found_inf,
        }
        torch._fused_sgd_(weights, gradients, velocities, is_first_step=False, **settings)


def build_sgd(config: SgdConfig, groups: list[dict[str, Any]]) -> Optimizer:
    return Sgd(groups, lr=config.learning_rate, momentum=config.momentum)


def build_sgd_2012(config: SgdConfig, groups: list[dict[str, Any]]) -> Optimizer:
    rate, momentum = config.learning_rate, config.momentum
    return Sgd(groups, lr=rate, momentum=momentum, rate_in_velocity=True)


def build_adamw(config: AdamwConfig, groups: list[dict[str, Any]]) -> Optimizer:
    # Fused: torch's other forms refuse `found_inf`, which the guard of a training sets.
    betas = (config.beta1, config.beta2)
    return AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.epsilon, fused=True)


def build_levenberg_marquardt(
    config: LevenbergMarquardtConfig, groups: list[dict[str, Any]]
) -> Optimizer:
    return DiagonalLevenbergMarquardt(groups, lr=config.learning_rate, damping=config.damping)


def build(config: OptimizerConfig, model: nn.Module, steps_per_epoch: int = 1) -> Optimizer:
    """Return the update rule for the parameters of `model`, which is on its device already.

    steps_per_epoch: what the epochs in `config.groups` are turned into steps by. The state exists
    from the start, filled with zeros, also where the first update is skipped.
    """
    builder = OPTIMIZERS[config.name].load()
    optimizer: Optimizer = builder(config, parameter_groups(config, model, steps_per_epoch))
    if config.name in OPTIMIZERS.own:
        optimizer = as_rule(optimizer, config.name)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter].update(_empty_state(optimizer, group, parameter))
    return optimizer


def _empty_state(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> dict[str, Any]:
    """Return the state before the first update, under torch's keys."""
    if isinstance(optimizer, UpdateRule):
        return optimizer.empty_state(group, parameter)
    if isinstance(optimizer, AdamW):
        return {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return {}


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the state as `optimizer.<parameter>.<key>`: the live tensors, not copies."""
    return {
        f"optimizer.{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def load_optimizer_tensors(
    optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]
) -> None:
    """Copy `tensors`, named as `optimizer_tensors` names them, into the state of `optimizer`.

    Names other than `optimizer.*` are ignored. The copy keeps each state's device and memory
    format, so that a resumed run is bit-identical. Raises CheckpointError when names or shapes
    differ.
    """
    given = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
    if isinstance(optimizer, TorchRule):
        optimizer.adopt(model, given)
    live = optimizer_tensors(optimizer, model)
    if different := sorted(live.keys() ^ given.keys()):
        raise CheckpointError(
            "the checkpoint holds the state of another optimizer or model",
            different[0],
            "resume with the optimizer and model that the run was started with",
        )

    for name, target in live.items():
        if target.shape != given[name].shape:
            shapes = f"{list(given[name].shape)}, expected {list(target.shape)}"
            raise CheckpointError(f"a tensor of the checkpoint has shape {shapes}", name)
        target.copy_(given[name])
