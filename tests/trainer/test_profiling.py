"""A profiled run leaves a trace and a table, and computes what the unprofiled one computes."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from cnnlab.trainer.profiling import TRACED_STEPS, WARM_STEPS, Profile
from cnnlab.training.loop import StepReport, TrainState, fit


def train(total_steps: int, folder: Path) -> tuple[list[str], torch.Tensor]:
    torch.manual_seed(0)
    model, said = nn.Linear(4, 2), []
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for group in state.optimizer.param_groups:
        group["base_rate"] = 0.1

    def step(state: TrainState, images: torch.Tensor, labels: torch.Tensor) -> StepReport:
        state.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(state.model(images), labels)
        loss.backward()
        state.optimizer.step()
        return StepReport(loss.detach(), loss.detach(), len(labels))

    def batches():  # type: ignore[no-untyped-def]
        while True:
            yield torch.ones(3, 4), torch.tensor([0, 1, 0])

    hook = Profile(folder / "profile", torch.device("cpu"), said.append, total_steps)
    fit(state, batches(), step, lambda step: 1.0, [hook], total_steps)
    return said, model.weight.detach().clone()


@pytest.mark.parametrize("total_steps", [WARM_STEPS + TRACED_STEPS + 5, WARM_STEPS + 3])
def test_a_profile_has_a_trace_and_a_table(total_steps: int, tmp_path: Path) -> None:
    said, _ = train(total_steps, tmp_path)
    events = json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    steps = sum(event.get("name") == "aten::addmm" for event in events)
    assert steps == min(TRACED_STEPS, total_steps - WARM_STEPS)
    assert "aten::addmm" in (tmp_path / "profile" / "operators.txt").read_text()
    assert len(said) == 1


def test_a_run_that_ends_before_the_first_traced_step_leaves_nothing(tmp_path: Path) -> None:
    assert train(WARM_STEPS, tmp_path)[0] == []
    assert not (tmp_path / "profile").exists()
