"""Every command begins in one place."""

import ast
from pathlib import Path

import pytest
import torch

from cnnlab import session
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from tests.app.test_evaluate import choice

SOURCE = Path(__file__).parents[1] / "src" / "cnnlab"


def runtime(**changes: object) -> RuntimeConfig:
    return parse(RuntimeConfig, choice("runtime", "cpu") | changes, "runtime")


def test_only_the_session_sets_what_is_global_in_torch() -> None:
    """`configure` called elsewhere would be a command with a beginning of its own."""
    callers = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "configure"
    }
    assert callers == {"session.py"}


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
