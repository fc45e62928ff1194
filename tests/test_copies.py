"""A copy to the CPU has arrived when it returns; towards another device the host does not wait.

The meta device stands for a GPU: what is asked of torch's copy is the same.
"""

import ast
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnnlab.models import towers
from cnnlab.runtime import to_device
from cnnlab.training.levenberg_marquardt import DiagonalLevenbergMarquardt
from cnnlab.training.non_finite_guard import NonFiniteGuard
from cnnlab.training.optimizers import Sgd
from tests.sources import SOURCE, trees

CPU, META = torch.device("cpu"), torch.device("meta")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Copies(TorchDispatchMode):
    """Record each copy between devices as (target, non_blocking), and make it of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        target = kwargs.get("device")
        if func not in COPIES or target is None or target.type == args[0].device.type:
            return func(*args, **kwargs)
        self.seen.append((target.type, bool(kwargs.get("non_blocking"))))
        return torch.zeros(args[0].shape, device=target)


def test_the_host_waits_for_what_comes_to_the_cpu() -> None:
    with Copies() as copies:
        assert to_device(torch.empty(2, device=META), CPU).device == CPU
        assert to_device(torch.ones(2), META).device == META
    assert copies.seen == [("cpu", False), ("meta", True)]


def test_a_copy_to_where_a_tensor_is_already_is_the_tensor() -> None:
    tensor = torch.ones(2)
    assert to_device(tensor, CPU) is tensor


def test_towers_wait_for_maps_that_come_to_the_cpu() -> None:
    with Copies() as copies:
        towers.copy_to(torch.empty(2, device=META), 0, (CPU, META))
        towers.copy_to(torch.ones(2), 1, (CPU, META))
    assert copies.seen == [("cpu", False), ("meta", True)]


@pytest.mark.parametrize("rule", ["sgd", "adamw", "levenberg_marquardt"])
def test_an_update_on_the_cpu_waits_for_a_flag_from_a_gpu(rule: str) -> None:
    """AdamW is torch's own and would not wait, so the guard hands it a flag that has arrived."""
    weights = [nn.Parameter(torch.ones(3, 2))]
    weights[0].grad = torch.ones(3, 2)
    optimizer: torch.optim.Optimizer = {
        "sgd": lambda: Sgd(weights, lr=0.1, momentum=0.0),
        "adamw": lambda: torch.optim.AdamW(weights, fused=True),
        "levenberg_marquardt": lambda: DiagonalLevenbergMarquardt(weights, lr=0.1, damping=0.1),
    }[rule]()
    number = torch.zeros((), device=META)
    with Copies() as copies:
        NonFiniteGuard(META).note(number, number, optimizer)
        optimizer.step()
    assert copies.seen == [("cpu", False)]


def is_pinned_upload(call: ast.Call) -> bool:
    """Return whether a call is `images.pin_memory().to(...)`: from the host, of a fresh copy."""
    source = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(source, ast.Call) and ast.unparse(source.func).endswith(".pin_memory")


def asynchronous_copies(tree: ast.Module) -> Iterator[str]:
    """Yield each call that may return before its copy has arrived, pinned uploads apart."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or is_pinned_upload(node):
            continue
        if "non_blocking" in {keyword.arg for keyword in node.keywords}:
            yield ast.unparse(node)


def test_no_other_copy_of_the_source_is_asynchronous() -> None:
    found = {
        f"{path.relative_to(SOURCE).as_posix()}: {call}"
        for path, tree in trees().items()
        for call in asynchronous_copies(tree)
    }
    assert found == {
        "runtime.py: tensor.to(device, non_blocking=device.type not in ('cpu', 'mps'))"
    }, "copy with runtime.to_device, or upload with x.pin_memory().to(device, non_blocking=True)"


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("x.to(d, non_blocking=True)", 1),
        ("x.copy_(y, non_blocking=wait)", 1),
        ("x.pin_memory().to(d, non_blocking=True)", 0),
        ("x.to(d)", 0),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, number: int) -> None:
    assert len(list(asynchronous_copies(ast.parse(source)))) == number
