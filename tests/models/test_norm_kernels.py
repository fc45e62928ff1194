"""Kernels of response normalization: the table, the refusals, and Triton's against the formula."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cnnlab import models
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.tables import load_by_name
from cnnlab.errors import ResourceError, UsageError
from cnnlab.models import norm_kernels
from cnnlab.models.normalization import Constants, Kernel, LocalResponseNorm
from tests.pretended.device import pretended
from tests.pretended.runs import CASES, configure

ROOT = Path(__file__).parents[2]
TOLERANCES = {"float32": 5e-7, "bfloat16": 2**-7, "float64": 1e-14}
"""Relative to the largest value; bfloat16 has 8 bits, of which Triton's interpreter cuts off."""


def network(name: str) -> models.Network:
    config = configure(*CASES[name]).model
    size = 64 if "alexnet" in name else 32
    return models.build(config, in_channels=3, input_size_pixels=size, num_classes=4, seed=0)


def test_the_table_has_the_kernels_that_the_setting_offers() -> None:
    field = next(f for f in dataclasses.fields(RuntimeConfig) if f.name == "lrn_kernel")
    assert tuple(norm_kernels.KERNELS) == field.metadata["choices"]
    assert LocalResponseNorm(5, 1e-4).kernel is load_by_name(norm_kernels.KERNELS["plain"])


def test_a_kernel_is_refused_where_it_does_nothing_or_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="no effect: the network has no response normalization"):
        norm_kernels.use(network("lenet5"), "triton")
    with pytest.raises(UsageError, match="needs a CUDA device, and the network is on cpu"):
        norm_kernels.use(network("narrow alexnet"), "triton")

    monkeypatch.setitem(sys.modules, "cnnlab.models.triton_norm", None)
    with pytest.raises(ResourceError, match="Triton cannot be imported") as raised:
        norm_kernels.use(network("narrow alexnet"), "triton")
    assert "lrn_kernel=plain" in raised.value.hint


def on_a_pretended_gpu(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> models.Network:
    """Return a network on cuda:1, which normalizes by `kernel` in place of Triton's."""
    monkeypatch.setattr(norm_kernels, "_loaded", lambda name: kernel)
    monkeypatch.setattr(norm_kernels, "_runs_on", lambda device: device.type == "cuda")
    given = network("narrow alexnet").to("cuda:1")
    norm_kernels.use(given, "triton")
    return given


def test_a_kernel_is_tried_on_its_device_before_a_network_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, tried = load_by_name(norm_kernels.KERNELS["plain"]), list[torch.device]()

    def noting(maps: Tensor, constants: Constants) -> Tensor:
        tried.append(maps.device)
        return plain.normalize(maps, constants)

    def without_compiler(maps: Tensor, constants: Constants) -> Tensor:
        raise RuntimeError("Failed to find C compiler.\nSet CC")

    with pretended():
        given = on_a_pretended_gpu(monkeypatch, plain._replace(normalize=noting))
        assert tried == [torch.device("cuda", 1)]
        layers = [module for module in given.modules() if isinstance(module, LocalResponseNorm)]
        assert all(layer.kernel.normalize is noting for layer in layers)

        with pytest.raises(ResourceError, match="cannot be compiled or run on cuda:1") as raised:
            on_a_pretended_gpu(monkeypatch, plain._replace(normalize=without_compiler))
    assert raised.value.where == "Failed to find C compiler."
    assert raised.value.hint.startswith("runtime.lrn_kernel=plain")


def test_plain_is_what_every_layer_has_until_it_is_told_otherwise() -> None:
    given = network("narrow alexnet")
    norm_kernels.use(given, "plain")
    layers = [module for module in given.modules() if isinstance(module, LocalResponseNorm)]
    assert [layer.kernel.takes_half for layer in layers] == [False, False]


@pytest.fixture(scope="module")
def interpreted() -> Any:
    """Return what triton_norm_cases.py found in Triton's interpreter."""
    pytest.importorskip("triton")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.models.triton_norm_cases"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.slow
def test_tritons_values_and_gradients_are_those_of_the_formula_in_float64(interpreted: Any) -> None:
    assert len(interpreted["cases"]) >= 18
    for case, differences in interpreted["cases"].items():
        tolerance = TOLERANCES[case.rsplit(", ", 1)[1]]
        assert max(differences) < tolerance, case


@pytest.mark.slow
def test_triton_takes_parts_of_larger_tensors_and_more_units_than_a_program_has(
    interpreted: Any,
) -> None:
    assert interpreted["gaps"] < 1e-6
    assert interpreted["many programs"] < 1e-6


@pytest.mark.slow
def test_a_network_of_two_towers_trains_with_triton_as_with_the_plain_kernel(
    interpreted: Any,
) -> None:
    losses = interpreted["trained"]
    assert losses["triton"] == pytest.approx(losses["plain"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("dtype", "is_double"), [("fp32", 0), ("bf16", 0), ("fp64", 1)])
def test_triton_compiles_both_kernels_for_gpus_and_reads_no_unit_twice(
    capability: int, dtype: str, is_double: int
) -> None:
    """Ahead of time, which needs no GPU: PTX, and the machine code that ptxas makes of it."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cnnlab.models import triton_norm

    layout = triton_norm.Layout(1, 48, bool(is_double), False, triton_norm.UNITS_PER_PROGRAM)
    constants = Constants(5, 1e-4, 0.75, 2.0, 2)
    per_thread = triton_norm.UNITS_PER_PROGRAM // 128
    for kernel, tensors, reads in (
        (triton_norm._normalize, ("values", "output"), 5),
        (triton_norm._gradient, ("values", "pulls", "output"), 9 + 5),
    ):
        types = dict.fromkeys(tensors, f"*{dtype}")
        types |= {"number": "i32", "LAYOUT": "constexpr", "C": "constexpr"}
        places = {(len(tensors) + 1,): layout, (len(tensors) + 2,): constants}
        source = ASTSource(fn=kernel, signature=types, constexprs=places)
        target = GPUTarget("cuda", capability, 32)
        made = triton.compile(source, target=target, options=triton_norm._OPTIONS)
        assert made.asm["ptx"].count("ld.global") == reads * per_thread
        assert made.asm["cubin"]


class Launches:
    """A kernel that notes on whose device it would be launched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current: object = None
        self.devices: list[object] = []
        monkeypatch.setattr(torch.cuda, "device_of", self._device_of)

    @contextlib.contextmanager
    def _device_of(self, tensor: object) -> Iterator[None]:
        self.current = tensor
        yield
        self.current = None

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return lambda *args, **options: self.devices.append(self.current)


def test_triton_launches_on_the_device_of_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the current device, which is that of the first of two towers."""
    pytest.importorskip("triton")
    from cnnlab.models import triton_norm

    maps, constants = torch.ones(1, 4, 2, 2), LocalResponseNorm(3, 1e-4).constants
    launches = Launches(monkeypatch)
    for name in ("_normalize", "_gradient"):
        monkeypatch.setattr(triton_norm, name, launches)
    triton_norm.normalize(maps, constants)
    triton_norm.gradient(maps, maps, constants)
    assert [device is maps for device in launches.devices] == [True, True]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("groups", [1, 2])
def test_on_a_gpu_triton_agrees_with_the_plain_kernel(
    dtype: torch.dtype, layout: torch.memory_format, groups: int
) -> None:
    from cnnlab.models import triton_norm

    maps = 40 * torch.randn(4, 96, 55, 55, device="cuda")
    pull = torch.randn_like(maps).to(dtype)
    found = []
    for kernel in (load_by_name(norm_kernels.KERNELS["plain"]), triton_norm.KERNEL):
        layer = LocalResponseNorm(5, 1e-4, groups=groups)
        layer.kernel = kernel
        given = maps.to(dtype).clone(memory_format=layout).requires_grad_()  # its own gradient
        output = layer(given)
        output.backward(pull)
        assert given.grad is not None
        found.append((output.detach().double(), given.grad.double()))

    tolerance = 1e-6 if dtype is torch.float32 else 2**-7
    for mine, plain in zip(*found, strict=True):
        assert float((mine - plain).abs().max() / plain.abs().max()) < tolerance


@pytest.mark.two_gpu
def test_triton_normalizes_on_a_device_that_is_not_the_current_one() -> None:
    from cnnlab.models import triton_norm

    constants = LocalResponseNorm(5, 1e-4).constants
    maps, found = torch.randn(2, 8, 5, 5), list[Tensor]()
    for device in ("cuda:0", "cuda:1"):
        there = maps.to(device)
        found.append(
            triton_norm.gradient(there, triton_norm.normalize(there, constants), constants)
        )
    assert torch.cuda.current_device() == 0
    assert torch.equal(found[0].cpu(), found[1].cpu())
