"""Ways to compute a step that exclude each other, or cannot be had, are refused in two lines."""

import dataclasses
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from cnnlab import config
from cnnlab.config import choices
from cnnlab.config.checks import check_kernels
from cnnlab.config.keys import walk
from cnnlab.config.loss import DefaultLossConfig, LossConfig
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from cnnlab.config.tables import tables
from cnnlab.errors import UsageError
from cnnlab.preprocessing import Preprocessing
from cnnlab.trainer.capturing import Capturing, choose
from cnnlab.trainer.fast_evaluation import EVALUATION_BATCH, evaluating
from cnnlab.training.captured import CapturedStep
from tests.pretended.device import pretended
from tests.pretended.runs import CASES, SPLIT, Training, configure

PLAIN = DefaultLossConfig(name="default", class_weights=None, label_smoothing=0.0)
WEIGHTED = DefaultLossConfig(name="default", class_weights="balanced", label_smoothing=0.0)


def runtime(**changes: Any) -> RuntimeConfig:
    return parse(RuntimeConfig, choices.alone("runtime", "cpu") | changes)


@pytest.mark.parametrize(
    ("given", "parts", "loss", "said"),
    [
        ({"capture": True, "compile": True}, 1, PLAIN, "runtime.compile=true"),
        ({"capture": True}, 2, PLAIN, "trainer.accumulate above 1"),
        ({"capture": True}, 1, WEIGHTED, "loss.class_weights"),
        ({"compile": True, "kernels": "triton"}, 1, PLAIN, "kernels=triton has no effect"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    given: dict[str, Any], parts: int, loss: LossConfig, said: str
) -> None:
    trainer, alone = mock.Mock(accumulate=parts), mock.Mock(simulate=None, fc_batch=None)
    with pytest.raises(UsageError, match=said) as raised:
        check_kernels(runtime(**given), trainer, loss, alone)
    assert len(str(raised.value).splitlines()) == 2
    check_kernels(runtime(**given | {"capture": False, "compile": False}), trainer, loss, alone)


@pytest.mark.parametrize(
    ("devices", "num_processes", "why"),
    [
        (["cpu"], 1, "the network is on cpu"),
        (["cpu", "meta"], 1, "the network is on cpu and meta"),
        (["cpu"], 2, "torchrun started 2 processes"),
    ],
)
def test_a_step_that_no_graph_can_hold_is_refused(
    devices: list[str], num_processes: int, why: str
) -> None:
    network: Any = nn.ModuleList(nn.Linear(1, 1, device=device) for device in devices)
    peers: Any = mock.Mock(size=num_processes)
    with pytest.raises(UsageError, match=f"one CUDA device; {why}"):
        choose(configure("runtime.capture=true"), network, peers)

    assert choose(configure("runtime.capture=auto"), network, peers) == Capturing()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "the step, as CUDA graphs"),
        (("trainer.accumulate=2",), "none: not with trainer.accumulate above 1: each part"),
        (("distributed.simulate=2",), "none: not with distributed.simulate or fc_batch: their"),
    ],
)
def test_a_gpu_captures_where_it_can_and_says_so(words: tuple[str, ...], line: str) -> None:
    with pretended():
        parts = Training.start((*CASES["lenet5"], *words), "cuda:0").parts
    assert str(parts.update.capturing.line).startswith(line)
    assert isinstance(parts.step, CapturedStep) == (not words)


def test_a_tower_on_the_processor_is_why_nothing_is_captured() -> None:
    with pretended():
        parts = Training.start((*SPLIT, "model.devices=[cpu,cuda:0]"), "cpu").parts
    assert parts.update.capturing == Capturing(line="none: the network is on cpu and cuda:0")


@pytest.mark.parametrize("group", ["model", "loss"])
def test_what_is_your_own_is_captured_only_when_asked_for(group: str) -> None:
    chosen = configure("runtime.capture=auto", *CASES["lenet5"])
    own = dataclasses.replace(getattr(chosen, group), name="mine")
    chosen = dataclasses.replace(chosen, **{group: own})
    network: Any = mock.Mock(parameters=lambda: [mock.Mock(device=torch.device("cuda", 0))])
    alone: Any = mock.Mock(size=1)

    with mock.patch.dict(tables()[group].own, {"mine": {}}):
        auto = choose(chosen, network, alone)
        assert auto.make is None
        assert str(auto.line).startswith(f"none: {group}=mine is your own")
        asked = dataclasses.replace(chosen.runtime, capture=True)
        assert choose(dataclasses.replace(chosen, runtime=asked), network, alone).make is not None


def test_what_no_gpu_has_run_says_so_in_its_help() -> None:
    told = {key.name: key.description for key in walk(config.TrainConfig)}
    assert "not yet run on" in told["runtime.device"]  # a Mac's
    assert "not yet run on" in told["distributed.scheme"]  # several


def evaluation(**changes: Any) -> Any:
    settings = mock.Mock(spec=config.TrainConfig, runtime=runtime(**changes))
    preprocessing = Preprocessing(3, 8, 0, torch.zeros(3), torch.ones(3))
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(192, 300))
    return evaluating(settings, network, preprocessing, mock.Mock()), network


def test_a_fast_evaluation_is_refused_where_it_changes_nothing() -> None:
    with pytest.raises(UsageError, match="no effect on cpu in fp32"):
        evaluation(fast_evaluation=True)


def test_a_fast_evaluation_computes_in_the_precision_of_training() -> None:
    plain, _ = evaluation(precision="bf16")
    assert plain.forward_of is None
    fast, network = evaluation(precision="bf16", fast_evaluation=True)
    assert plain.batch_size == fast.batch_size == EVALUATION_BATCH

    images = torch.randn(2, 3, 8, 8)
    scores = fast.forward_of(network)(images)
    assert scores.dtype is torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(scores, network(images))
    member = mock.Mock(model=network)
    assert plain.member(member) is member
