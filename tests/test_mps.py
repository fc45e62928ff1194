"""A Mac's GPU is found when asked for, and refused in one line where it cannot do its work.

There is none here: the pretended device takes its place where something is computed.
"""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cnnlab import mps, runtime, session
from cnnlab.command.failures import unusable_device
from cnnlab.config import choices
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.schema import parse
from cnnlab.data.residency import place
from cnnlab.data.store import ArrayStore
from cnnlab.errors import ResourceError, UsageError
from cnnlab.trainer.throughput import copy_bytes
from cnnlab.training.hooks import RunningLoss
from tests.pretended.device import pretended

CPU, MAC, GPU = torch.device("cpu"), torch.device("mps", 0), torch.device("cuda", 0)


@pytest.fixture
def _a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lambda check_available=False: torch.device("mps")  # noqa: E731
    monkeypatch.setattr(torch.accelerator, "current_accelerator", found)


def settings(**changes: Any) -> RuntimeConfig:
    return dataclasses.replace(parse(RuntimeConfig, choices.alone("runtime", "auto")), **changes)


@pytest.mark.parametrize("name", ["mps", "mps:0"])
@pytest.mark.usefixtures("_a_mac")
def test_it_is_taken_where_it_is_asked_for(name: str) -> None:
    assert runtime.select_device(name) == MAC
    assert runtime.select_device("auto").type != "mps"
    assert runtime.describe_device(MAC).startswith("mps:0 (")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this is a Mac with a GPU")
def test_without_one_it_is_a_missing_resource() -> None:
    with pytest.raises(ResourceError, match=r"runtime\.device=mps, but ") as caught:
        runtime.select_device("mps")
    assert caught.value.exit_code == 6
    assert "runtime.device=cpu" in str(caught.value)


@pytest.mark.parametrize("name", ["mps:1", "mps:", "MPS"])
def test_there_is_one_alone(name: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda, cuda:N or mps"):
        runtime.select_device(name)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"precision": "bf16"}, "runtime.precision=bf16"),
        ({"deterministic": True}, "runtime.deterministic=true"),
        ({"compile": True}, "runtime.compile=true"),
        ({"capture": True}, "runtime.capture=true"),
        ({"kernels": "triton"}, "runtime.kernels=triton"),
        ({"fused_update": True}, "runtime.fused_update=true"),
        ({"profile": True}, "runtime.profile=true"),
    ],
)
def test_what_is_untried_there_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=f"{word} on mps: ") as caught:
        mps.check(settings(**changes), MAC, is_launched=False)
    assert len(str(caught.value).splitlines()) == 2
    mps.check(settings(**changes), CPU, is_launched=False)


@pytest.mark.usefixtures("_a_mac")
def test_every_command_asks_before_it_computes() -> None:
    with pytest.raises(UsageError, match="bf16 on mps"):
        session.begin(settings(device="mps", precision="bf16"))


def test_images_that_are_read_batch_by_batch_arrive_on_any_device() -> None:
    """The meta device stands for one that is no CUDA device."""
    labels, pixels = torch.zeros(5, dtype=torch.int64), torch.zeros(5, 4, 4, 3, dtype=torch.uint8)
    store = ArrayStore("noise", "train", pixels, labels, ("one",), True)
    there = place(store, lambda images: images, torch.device("meta"), "mapped")
    assert there.take(torch.arange(2)).device.type == "meta"


def test_several_processes_are_refused() -> None:
    with pytest.raises(UsageError, match="under torchrun"):
        mps.check(settings(), MAC, is_launched=True)
    mps.check(settings(), CPU, is_launched=True)


def test_a_device_that_computes_what_the_cpu_does_passes() -> None:
    with pretended():
        mps.check_operators(GPU)


def refused(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, other: Any) -> ResourceError:
    """Return the refusal of a device on which one operator is another one."""
    right = getattr(module, name)

    def there(*given: Any, **settings: Any) -> Any:
        first = given[0][0] if isinstance(given[0], list) else given[0]
        return (other if first.device.type == "cuda" else right)(*given, **settings)

    monkeypatch.setattr(module, name, there)
    with pretended(), pytest.raises(ResourceError) as caught:
        mps.check_operators(GPU)
    return caught.value


def test_a_missing_operator_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: Any, **settings: Any) -> Any:
        raise NotImplementedError("The operator 'aten::conv2d' is not there\nmore")

    error = refused(monkeypatch, F, "conv2d", missing)
    assert str(error).splitlines() == [
        "torch cannot train on cuda",
        "  The operator 'aten::conv2d' is not there",
        "  runtime.device=cpu works",
    ]


def test_a_wrong_operator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(monkeypatch, F, "relu", torch.tanh)
    assert str(error).startswith("torch computes another loss on cuda than on the CPU")


def test_an_update_that_cannot_be_skipped_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    update = torch._fused_sgd_

    def always(*given: Any, found_inf: torch.Tensor, **settings: Any) -> None:
        update(*given, **settings, found_inf=torch.zeros_like(found_inf))

    error = refused(monkeypatch, torch, "_fused_sgd_", always)
    assert "another skipped update" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError(
            "The operator 'aten::foo' is not currently implemented for the MPS device."
        ),
        TypeError("Cannot convert a MPS Tensor to float64 dtype"),
    ],
)
def test_an_operator_that_is_missing_later_is_no_bug_of_ours(error: Exception) -> None:
    told = unusable_device(error)
    assert told is not None
    assert told.startswith("torch cannot do this on a Mac's GPU: ")
    assert "runtime.device=cpu works" in told
    assert unusable_device(TypeError("another")) is None


def test_sums_are_as_wide_as_the_device_has_them() -> None:
    assert mps.widest_float(MAC) is torch.float32
    assert mps.widest_float(GPU) is mps.widest_float(CPU) is torch.float64
    assert RunningLoss(CPU).tensors()["running_loss.sum"].dtype is torch.float64


def test_dropout_is_seeded_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.mps, "manual_seed", seeds.append)
    runtime.dropout_seeder(7, MAC)(3)
    assert seeds == [runtime.derive_seed(7, "dropout", 3)]


def test_its_limits_have_a_size() -> None:
    assert copy_bytes(MAC) == 2**30
