"""The 1998 update rule."""

import pytest
import torch
from torch import nn

from cnnlab.errors import NumericsError
from cnnlab.training.levenberg_marquardt import CurvatureStep, DiagonalLevenbergMarquardt
from cnnlab.training.loop import StepReport, TrainState


def problem():
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    weight.grad = torch.tensor([0.5, -1.0, 2.0])
    return weight, DiagonalLevenbergMarquardt([weight], lr=0.1, damping=0.02)


def test_each_weight_moves_by_its_own_rate():
    weight, rule = problem()
    rule.set_curvature({weight: torch.tensor([0.0, 1.0, 0.08])})
    rule.step()
    wanted = [1 - 0.1 / 0.02 * 0.5, 2 + 0.1 / 1.02 * 1.0, 3 - 0.1 / 0.10 * 2.0]
    torch.testing.assert_close(weight.detach(), torch.tensor(wanted))


def test_a_newton_step_solves_a_quadratic_at_once():
    target, second = torch.tensor([3.0, -1.0]), torch.tensor([4.0, 0.5])
    weight = nn.Parameter(torch.zeros(2))
    rule = DiagonalLevenbergMarquardt([weight], lr=1.0, damping=1e-8)
    rule.set_curvature({weight: second})
    (second * (weight - target).square() / 2).sum().backward()
    rule.step()
    torch.testing.assert_close(weight.detach(), target)


def test_weight_decay_pulls_towards_zero():
    weight = nn.Parameter(torch.tensor([2.0]))
    weight.grad = torch.zeros(1)
    DiagonalLevenbergMarquardt([weight], lr=0.1, damping=1.0, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([2.0 - 0.1 * 0.5 * 2.0]))


def test_nothing_changes_where_the_gradient_is_not_finite():
    weight, rule = problem()
    before = weight.detach().clone()
    weight.grad[0] = float("nan")
    rule.found_inf = torch.ones(())
    rule.step()
    assert torch.equal(weight.detach(), before)


def test_curvature_is_estimated_before_the_first_step_of_each_pass():
    weight, rule = problem()
    model = nn.Module()
    model.weight = weight
    asked, seen = [], []

    def estimate(model, step):
        asked.append(step)
        return {"weight": torch.full((3,), float(step))}

    def step(state, images, labels):
        seen.append(rule.state[weight]["curvature"][0].item())
        return StepReport(torch.zeros(()), torch.zeros(()), 1)

    state = TrainState(model, rule)
    curved = CurvatureStep(step, estimate, every_steps=3)
    for state.step in range(7):
        curved(state, torch.zeros(1), torch.zeros(1))
    assert asked == [0, 3, 6]
    assert seen == [0, 0, 0, 3, 3, 3, 6]


def test_a_curvature_that_is_not_finite_stops_the_run_before_any_weight_moves():
    weight, rule = problem()
    model = nn.Module()
    model.weight = weight
    rule.set_curvature({weight: torch.ones(3)})
    state = TrainState(model, rule)

    def estimate(model, step):
        return {"weight": torch.tensor([1.0, float("nan"), 1.0])}

    curved = CurvatureStep(lambda *_: pytest.fail("the step was made"), estimate, every_steps=3)
    with pytest.raises(NumericsError, match="curvature of weight is not finite at step 0"):
        curved(state, torch.zeros(1), torch.zeros(1))
    assert torch.equal(rule.state[weight]["curvature"], torch.ones(3))
