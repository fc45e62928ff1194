"""Every command begins in one place."""

import ast
import dataclasses
from pathlib import Path

import pytest
import torch

from cnnlab import session
from cnnlab.command.verbs import VERBS, Verb
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from tests.app.test_evaluate import choice
from tests.sources import SOURCE, nodes_of, trees


def runtime(**changes: object) -> RuntimeConfig:
    return parse(RuntimeConfig, choice("runtime", "cpu") | changes, "runtime")


def calls(path: Path) -> set[str]:
    """Return what a file calls, by its last two names: `session.begin`."""
    called = [ast.unparse(node.func) for node in nodes_of(path) if isinstance(node, ast.Call)]
    return {".".join(name.split(".")[-2:]) for name in called}


def callers(function: str) -> set[str]:
    """Return the files that call a function, by whatever module name."""
    return {
        str(path.relative_to(SOURCE))
        for path in trees()
        if function in {name.split(".")[-1] for name in calls(path)}
    }


WITH_RUNTIME = [
    verb
    for verb in VERBS.values()
    if "runtime" in {field.name for field in dataclasses.fields(verb.config_class)}
]


@pytest.mark.parametrize("verb", WITH_RUNTIME, ids=lambda verb: verb.task)
def test_every_command_with_runtime_settings_begins_a_session(verb: Verb) -> None:
    module = verb.task.partition(":")[0]
    path = SOURCE.parent / f"{module.replace('.', '/')}.py"
    assert calls(path) & {"session.begin", "session.shared"}


def test_the_commands_with_runtime_settings_are_found() -> None:
    named = {verb.task.partition(":")[0].split(".")[-1] for verb in WITH_RUNTIME}
    assert named == {"train", "evaluate", "predict", "visualize", "benchmark", "reproduce"}


def test_only_the_session_sets_what_is_global_in_torch() -> None:
    """Elsewhere it would be a command with a beginning of its own."""
    assert callers("configure") == {"session.py"}
    planning = {"trainer/ensemble.py"}  # how many members train at once
    assert callers("select_device") - {"runtime.py"} == {"session.py"} | planning


def test_the_precision_is_that_of_the_forward_pass() -> None:
    weights, images = torch.ones(3, 3), torch.ones(2, 3)
    with session.begin(runtime(precision="bf16")).forward():
        assert torch.mm(images, weights).dtype is torch.bfloat16
    with session.begin(runtime()).forward():
        assert torch.mm(images, weights).dtype is torch.float32


def test_a_precision_that_gains_nothing_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    session.begin(runtime(precision="tf32"))
    assert capsys.readouterr().err.splitlines() == [
        "cnnlab: precision=tf32 has no effect on cpu: it computes in fp32"
    ]
    said: list[str] = []
    session.begin(runtime(precision="tf32"), warn=said.append)
    assert len(said) == 1
    assert capsys.readouterr().err == ""


def test_alone_a_shared_command_has_no_peers() -> None:
    with session.shared(runtime(), timeout_seconds=5) as here:
        assert (here.device, here.peers.size) == (torch.device("cpu"), 1)
