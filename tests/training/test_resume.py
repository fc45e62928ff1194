"""Stopped and continued at any step, a run is bit for bit the run that was never stopped."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnlab.config.parameter_groups import ParameterGroupConfig
from cnnlab.config.schedules import PlateauScheduleConfig
from cnnlab.config.training import AdamwConfig, OptimizerConfig, SgdConfig
from cnnlab.runtime import dropout_seeder, make_generator
from cnnlab.training import losses, optimizers, schedules
from cnnlab.training.hooks import Best, Every, Validate, drop_rate
from cnnlab.training.loop import TrainState, fit
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.steps import TrainStep

CPU = torch.device("cpu")
TOTAL_STEPS, STEPS_PER_EPOCH = 12, 3

SHARED = {
    "learning_rate": 0.05,
    "weight_decay": 0.01,
    "decay_biases": False,
    "bias_rate_factor": 2.0,
    "groups": [],
}
OWN = {"layers": ["0"], "parameters": "weights", "rate_factor": None, "weight_decay": None}
GROUPS = [ParameterGroupConfig(**OWN, at_epochs=[1.0, 2.0], fractions=[0.1, 0.0])]
CONFIGS = [
    SgdConfig(name="sgd", momentum=0.9, **SHARED),
    SgdConfig(name="sgd_2012", momentum=0.9, **SHARED),
    AdamwConfig(name="adamw", beta1=0.9, beta2=0.99, epsilon=1e-8, **SHARED),
    SgdConfig(name="sgd_2012", momentum=0.9, **SHARED | {"groups": GROUPS}),
]
PLATEAU = PlateauScheduleConfig(name="plateau", factor=0.5, patience_epochs=0, max_drops=3)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        features = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(*features, nn.Dropout(0.5), nn.Linear(64, 3))
    return model.to(memory_format=torch.channels_last)


def batches(start_step: int) -> Iterator[tuple[Tensor, Tensor]]:
    step = start_step
    while True:
        generator = make_generator(0, "order", step)
        yield torch.randn(6, 1, 6, 6, generator=generator), torch.arange(6) % 3
        step += 1


@dataclass
class Run:
    """A training run with everything that changes while it runs."""

    state: TrainState
    schedule: schedules.Schedule
    best: Best
    trace: list[float]

    def go_on(self, total_steps: int, parts: int) -> None:
        step = TrainStep(
            losses.of_network(losses.cross_entropy),
            NonFiniteGuard(CPU),
            dropout_seeder(0, CPU),
            num_parts=parts,
            clip_gradient_norm=1.0,
        )
        validate = Validate(self.measure, [self.best, drop_rate(self.schedule)])
        hooks = [
            lambda state, report: self.trace.append(report.loss.item()),
            Every(STEPS_PER_EPOCH, validate),
        ]
        first = batches(self.state.step)
        fit(self.state, first, step, self.schedule.rate_at, hooks, total_steps)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Answer with an error that stalls now and then, so that the plateau drops."""
        return {"top1_error": round(0.5 - self.state.step / 40, 1)}

    def saved(self) -> tuple[dict[str, Tensor], str]:
        model, optimizer = self.state.model, self.state.optimizer
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors |= optimizers.optimizer_tensors(optimizer, model)
        document: dict[str, Any] = {
            "step": self.state.step,
            "schedule": self.schedule.state_dict(),
            "best": self.best.state_dict(),
        }
        copies = {n: t.clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
        return copies, json.dumps(document, allow_nan=False)


def start(config: OptimizerConfig) -> Run:
    model = network()
    state = TrainState(model, optimizers.build(config, model, STEPS_PER_EPOCH))
    return Run(state, schedules.build(PLATEAU, STEPS_PER_EPOCH, TOTAL_STEPS), Best(), [])


def resume(config: OptimizerConfig, tensors: dict[str, Tensor], text: str) -> Run:
    run, document = start(config), json.loads(text)
    weights = {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}
    run.state.model.load_state_dict(weights)
    optimizers.load_optimizer_tensors(run.state.optimizer, run.state.model, tensors)
    run.state.step = document["step"]
    run.schedule.load_state_dict(document["schedule"])
    run.best.load_state_dict(document["best"])
    return run


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_resume_at_every_step_equals_the_uninterrupted_run(
    config: OptimizerConfig, parts: int
) -> None:
    whole = start(config)
    whole.go_on(TOTAL_STEPS, parts)
    assert 0 < whole.schedule.state_dict()["drops"] < 3, "the plateau must be at work in this test"
    expected, document = whole.saved()
    for cut in range(TOTAL_STEPS + 1):
        before = start(config)
        before.go_on(cut, parts)
        after = resume(config, *before.saved())
        torch.rand(cut + 1)  # whatever happened to torch's generator in between
        after.go_on(TOTAL_STEPS, parts)
        tensors, text = after.saved()
        assert text == document
        assert before.trace + after.trace == whole.trace
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in expected), cut
