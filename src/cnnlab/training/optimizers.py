"""Optimizers, and optimizer state by parameter name."""

from collections.abc import Iterable
from typing import Any, NamedTuple

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
from cnnlab.errors import CheckpointError, UsageError
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
    `in_one_pass`: the kernel multiplies the gradient with the rate, as a division by 1 / lr, which
    rounds otherwise; without it a pass of its own writes a second gradient.
    Source of the second form: Krizhevsky et al. 2012, section 5, first two equations, -v for v. The
    gradient is the mean over the batch, as there.
    """

    can_be_captured = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        rate_in_velocity: bool = False,
        in_one_pass: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rate_in_velocity, self.in_one_pass = rate_in_velocity, in_one_pass
        self._divisors: dict[tuple[torch.device, float], Tensor] = {}

    def empty_state(self, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter)} if group["momentum"] else {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; those of a group are on one device."""
        for settings, weights in self._alike().items():
            gradients = [weight.grad for weight in weights]
            velocities = []
            if settings.momentum:
                velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
            self._update(settings, weights, gradients, velocities)  # type: ignore[arg-type]

    step.hooked = True  # type: ignore[attr-defined]
    """Keeps torch.optim from wrapping `step` with profiler marks and a search for hooks."""

    def _alike(self) -> "dict[_Settings, list[Tensor]]":
        """Return the parameters that have a gradient and move, by what their updates depend on.

        Groups with the same numbers are updated at once.
        """
        alike: dict[_Settings, list[Tensor]] = {}
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights or group["lr"] == 0:
                continue  # with the rate in the velocity, momentum would still move the weights
            settings = _Settings(
                weights[0].device, group["lr"], group["weight_decay"], group["momentum"]
            )
            alike.setdefault(settings, []).extend(weights)
        return alike

    def _update(
        self,
        settings: "_Settings",
        weights: list[Tensor],
        gradients: list[Tensor],
        velocities: list[Tensor],
    ) -> None:
        device, rate, decay, momentum = settings
        found_inf = self.found_inf
        if found_inf is not None and found_inf.device != device:
            found_inf = to_device(found_inf, device)

        divisor = None
        if self.rate_in_velocity:
            if self.in_one_pass:
                divisor = self._divisor(device, rate)
            else:
                gradients = list(torch._foreach_mul(gradients, rate))
            rate, decay = 1.0, rate * decay

        given: dict[str, Any] = {
            "lr": rate,
            "weight_decay": decay,
            "momentum": momentum,
            "dampening": 0.0,
            "nesterov": False,
            "maximize": False,
            "grad_scale": divisor,
            "found_inf": found_inf,
        }
        torch._fused_sgd_(weights, gradients, velocities, is_first_step=False, **given)

    def _divisor(self, device: torch.device, rate: float) -> Tensor:
        """Return what the fused kernel divides the gradients by, to multiply them with the rate.

        Kept while the rates stay, since a kernel fills it, and a captured update reads it.
        """
        if (device, rate) not in self._divisors:
            if len(self._divisors) >= 2 * len(self.param_groups):  # those of earlier rates
                self._divisors.clear()
            self._divisors[device, rate] = torch.full((), 1 / rate, device=device)
        return self._divisors[device, rate]


class _Settings(NamedTuple):
    """What an update depends on besides the parameter, its gradient and its state."""

    device: torch.device
    rate: float
    decay: float
    momentum: float


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


def build(
    config: OptimizerConfig,
    model: nn.Module,
    steps_per_epoch: int = 1,
    *,
    in_one_pass: bool = False,
) -> Optimizer:
    """Return the update rule for the parameters of `model`, which is on its device already.

    steps_per_epoch: what the epochs in `config.groups` are turned into steps by. The state exists
    from the start, filled with zeros, also where the first update is skipped. in_one_pass: of
    `Sgd`; raises UsageError for a rule that it does not change.
    """
    builder = OPTIMIZERS[config.name].load()
    optimizer: Optimizer = builder(config, parameter_groups(config, model, steps_per_epoch))
    if in_one_pass:
        if not isinstance(optimizer, Sgd) or not optimizer.rate_in_velocity:
            raise UsageError(
                f"runtime.fused_update=true has no effect on optimizer={config.name}",
                hint="its update is one pass already; optimizer=sgd_2012 has two without it",
            )
        optimizer.in_one_pass = True
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
