"""An optimizer of torch as an update rule: skipped, saved and restored."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import NAdam, Optimizer, RMSprop

from cnnlab.errors import UsageError
from cnnlab.training.optimizers import load_optimizer_tensors, optimizer_tensors
from cnnlab.training.torch_rule import TorchRule, as_rule

RULES: list[Callable[..., Optimizer]] = [
    lambda p: RMSprop(p, lr=0.01, momentum=0.5),
    lambda p: NAdam(p, lr=0.01),
]


def made(build: Callable[..., Optimizer]) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    model.to(memory_format=torch.channels_last)
    return model, as_rule(build([{"params": list(model.parameters()), "lr": 0.01}]), "own")


def steps(model: nn.Module, rule: Optimizer, numbers: range) -> None:
    for number in numbers:
        torch.manual_seed(number)
        model.zero_grad()
        model(torch.randn(4, 1, 4, 4)).square().sum().backward()
        rule.step()


@pytest.mark.parametrize("build", RULES, ids=["rmsprop", "nadam"])
def test_a_restored_rule_continues_bit_for_bit(build: Callable[..., Optimizer]) -> None:
    whole, rule = made(build)
    steps(whole, rule, range(6))

    first, rule = made(build)
    steps(first, rule, range(3))
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(rule, first).items()}
    second, again = made(build)
    second.load_state_dict(first.state_dict())
    load_optimizer_tensors(again, second, saved)
    steps(second, again, range(3, 6))

    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_update_is_skipped_while_the_flag_is_set() -> None:
    model, rule = made(RULES[0])
    before = [parameter.clone() for parameter in model.parameters()]
    rule.found_inf = torch.ones(())
    steps(model, rule, range(1))
    assert all(map(torch.equal, before, model.parameters()))
    assert optimizer_tensors(rule, model) == {}
    rule.found_inf = torch.zeros(())
    steps(model, rule, range(1))
    assert not any(map(torch.equal, before, model.parameters()))


def test_a_changed_rate_reaches_the_optimizer() -> None:
    model, rule = made(RULES[0])
    assert isinstance(rule, TorchRule)
    rule.param_groups[0]["lr"] = 0.0
    before = [parameter.clone() for parameter in model.parameters()]
    steps(model, rule, range(1))
    assert all(map(torch.equal, before, model.parameters()))


class Counting(RMSprop):
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step()
        for state in self.state.values():
            state["calls"] = 1


def test_state_that_no_checkpoint_could_hold_is_refused() -> None:
    model, rule = made(lambda groups: Counting(groups))
    with pytest.raises(UsageError, match="keeps a int in its state: 'calls'"):
        steps(model, rule, range(1))
    with pytest.raises(UsageError, match="the builder of optimizer 'own' returns a int"):
        as_rule(3, "own")
