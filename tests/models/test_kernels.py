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
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab import models
from cnnlab.config.runtime import RuntimeConfig
from cnnlab.config.tables import load_by_name
from cnnlab.console import Console
from cnnlab.errors import ResourceError, UsageError
from cnnlab.geometry import Window
from cnnlab.models import kernels
from cnnlab.models.normalization import Constants, Kernel, LocalResponseNorm
from cnnlab.models.pooling import Maps, MaxPool2d, PoolKernel
from cnnlab.trainer import display
from tests.pretended.device import pretended
from tests.pretended.runs import CASES, Training, configure

ROOT = Path(__file__).parents[2]
TOLERANCES = {"float32": 5e-7, "bfloat16": 2**-7, "float16": 2**-10, "float64": 1e-14}
"""Relative to the largest value; bfloat16 has 8 bits, of which Triton's interpreter cuts off."""


def network(name: str) -> models.Network:
    config = configure(*CASES[name]).model
    size = 64 if "alexnet" in name else 32
    return models.build(config, in_channels=3, input_size_pixels=size, num_classes=4, seed=0)


def test_the_table_has_the_kernels_that_the_setting_offers() -> None:
    field = next(f for f in dataclasses.fields(RuntimeConfig) if f.name == "kernels")
    assert ("auto", *kernels.KERNELS) == field.metadata["choices"]
    plain = kernels.KERNELS["plain"]
    assert LocalResponseNorm(5, 1e-4).kernel is load_by_name(plain.normalization)
    assert MaxPool2d(Window(3, 2)).kernel is plain.pooling is None


def test_a_kernel_is_refused_where_it_does_nothing_or_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="no effect: the network has no response normalization or"):
        kernels.use(torch.nn.Linear(2, 2), "triton")
    with pytest.raises(UsageError, match="needs a CUDA device, and the network is on cpu"):
        kernels.use(network("narrow alexnet"), "triton")

    monkeypatch.setitem(sys.modules, "cnnlab.models.triton_pool", None)
    with pytest.raises(ResourceError, match="Triton cannot be imported") as raised:
        kernels.use(network("lenet5"), "triton")
    assert "kernels=plain" in raised.value.hint


def pool_with_torch(maps: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Pool as a kernel does; the places are torch's, which count in the map."""
    return F.max_pool2d(maps, *window_arguments(window)[:-1], window.ceil, True)


def spread_with_torch(pull: Tensor, places: Tensor, maps: Maps, window: Window) -> Tensor:
    like = pull.new_empty(maps.shape)
    arguments = [[side, side] if type(side) is int else side for side in window_arguments(window)]
    back = torch.ops.aten.max_pool2d_with_indices_backward
    return back(pull, like, *arguments, places)


def window_arguments(window: Window) -> tuple[Any, ...]:
    return window.kernel, window.stride, window.padding, window.dilation, window.ceil


BY_TORCH = PoolKernel(pool_with_torch, spread_with_torch, lambda window: window.dilation == 1)
"""A kernel that every device runs, also a pretended one, in place of Triton's."""

PLAIN: Kernel = load_by_name(kernels.KERNELS["plain"].normalization)


def layers_of(given: torch.nn.Module) -> list[Any]:
    return [each for each in given.modules() if isinstance(each, LocalResponseNorm | MaxPool2d)]


def on_a_pretended_gpu(
    monkeypatch: pytest.MonkeyPatch, norm: Kernel = PLAIN, name: str = "triton"
) -> tuple[models.Network, kernels.Chosen]:
    """Return a network on cuda:1 that computes by `norm` and by torch in place of Triton."""
    monkeypatch.setattr(kernels, "_loaded", lambda name: kernels._Loaded(norm, BY_TORCH))
    monkeypatch.setattr(kernels, "_runs_on", lambda device: device.type == "cuda")
    given = network("narrow alexnet").to("cuda:1")
    return given, kernels.use(given, name)


def without_compiler(maps: Tensor, constants: Constants) -> Tensor:
    raise RuntimeError("Failed to find C compiler.\nSet CC")


def test_a_kernel_is_tried_on_its_device_before_a_network_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = list[torch.device]()

    def noting(maps: Tensor, constants: Constants) -> Tensor:
        tried.append(maps.device)
        return PLAIN.normalize(maps, constants)

    with pretended():
        given, chosen = on_a_pretended_gpu(monkeypatch, PLAIN._replace(normalize=noting))
        assert tried == [torch.device("cuda", 1)]
        assert [layer.kernel for layer in layers_of(given)].count(BY_TORCH) == 3
        assert [getattr(each.kernel, "normalize", None) for each in layers_of(given)].count(
            noting
        ) == 2
        assert chosen == kernels.Chosen()

        with pytest.raises(ResourceError, match="cannot be compiled or run on cuda:1") as raised:
            on_a_pretended_gpu(monkeypatch, PLAIN._replace(normalize=without_compiler))
    assert raised.value.where == "Failed to find C compiler."
    assert raised.value.hint.startswith("runtime.kernels=plain")


def test_plain_is_what_every_layer_has_until_it_is_told_otherwise() -> None:
    given = network("narrow alexnet")
    assert kernels.use(given, "plain") == kernels.use(given, "auto") == kernels.Chosen()
    halves = [getattr(each.kernel, "takes_half", None) for each in layers_of(given)]
    assert halves == [False, None, False, None, None]


def test_auto_takes_triton_on_a_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended():
        given, chosen = on_a_pretended_gpu(monkeypatch, name="auto")
        line = "Triton's, for 2 response normalizations and 3 max poolings"
        assert chosen == kernels.Chosen(line, is_missed=False)
        images = torch.rand(2, 3, 64, 64).to("cuda:1")
        given(images).sum().backward()
    pools = [layer for layer in layers_of(given) if isinstance(layer, MaxPool2d)]
    assert {layer.kernel for layer in pools} == {BY_TORCH}


@pytest.mark.parametrize(
    ("capability", "is_compiled", "norm", "why"),
    [
        ((7, 5), False, PLAIN, "cuda:1 has capability 7.5, below 8.0"),
        ((8, 0), True, PLAIN, "runtime.compile=true makes its own"),
        (
            (9, 0),
            False,
            PLAIN._replace(normalize=without_compiler),
            "Triton's kernels cannot be compiled or run on cuda:1 (Failed to find C compiler.)",
        ),
    ],
)
def test_auto_leaves_triton_out_where_it_cannot_be_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    is_compiled: bool,
    norm: Kernel,
    why: str,
) -> None:
    with pretended():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        given, _ = on_a_pretended_gpu(monkeypatch, norm, name="plain")
        chosen = kernels.use(given, "auto", is_compiled)
    assert chosen == kernels.Chosen(f"torch's: {why}", is_missed=True)
    assert {layer.kernel for layer in layers_of(given)} == {PLAIN, None}


def test_auto_says_why_where_triton_is_missing_or_a_tower_is_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cnnlab.models.triton_norm", None)
    with pretended():
        given = network("narrow alexnet").to("cuda:1")
        assert str(kernels.use(given, "auto").line).startswith("torch's: Triton cannot be imported")
        given.conv1.to("cpu")
        line = "torch's: the network is on cpu and cuda:1"
        assert kernels.use(given, "auto") == kernels.Chosen(line, is_missed=True)


def test_auto_has_nothing_to_choose_for_a_network_without_such_layers() -> None:
    with pretended():
        assert kernels.use(torch.nn.Linear(2, 2).to("cuda:0"), "auto") == kernels.Chosen()


def test_a_run_says_in_one_line_what_auto_chose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, asked = CASES["narrow alexnet"], "runtime.kernels=auto"
    on_cpu = Training.start((*words, asked), "cpu").parts
    assert on_cpu.kernels is None
    monkeypatch.setattr(kernels, "_loaded", lambda name: kernels._Loaded(PLAIN, BY_TORCH))
    with pretended():
        parts = Training.start((*words, asked), "cuda:0").parts
        assert str(parts.kernels).startswith("Triton's, for 2 response")
    folder, launch = mock.Mock(path="run"), mock.Mock(overrides=[])
    monkeypatch.setattr(display, "model_table", mock.Mock())
    for kind, lines in ((None, 0), (parts.kernels, 1)):
        display.header(Console(), dataclasses.replace(on_cpu, kernels=kind), folder, launch)
        assert capsys.readouterr().out.count("kernels     Triton's, for 2") == lines


@pytest.fixture(scope="module")
def interpreted() -> Any:
    """Return what triton_cases.py found in Triton's interpreter."""
    pytest.importorskip("triton")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.models.triton_cases"],
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
    assert 10 < interpreted["taken as runs"] < len(interpreted["cases"])
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
def test_tritons_pooling_is_that_of_torch_bit_for_bit_and_so_are_its_gradients(
    interpreted: Any,
) -> None:
    """In bfloat16 and float16 but for the rounding of each sum, of which torch's CPU makes more."""
    assert len(interpreted["pooled"]) > 50
    for case, (same, difference) in interpreted["pooled"].items():
        assert same, case
        most = {"bfloat16": 2**-5, "float16": 2**-8}.get(case.rsplit(", ", 1)[1], 0)
        assert difference <= most, case
    assert interpreted["pooled with gaps"] == [True, True]


@pytest.mark.slow
def test_triton_counts_more_numbers_than_32_bits_can(interpreted: Any) -> None:
    assert interpreted["in 64 bits"] == [0, 0, 0, 0]


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

    from cnnlab.models import triton_launch, triton_norm

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
        made = triton.compile(source, target=target, options=triton_launch.OPTIONS)
        assert made.asm["ptx"].count("ld.global") == reads * per_thread
        assert made.asm["cubin"]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_thread_computes_a_run_of_neighbors_from_what_it_read_itself(
    capability: int, dtype: torch.dtype
) -> None:
    """No number goes from thread to thread, and reads are of 16 bytes."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cnnlab.models import triton_launch, triton_norm_last

    constants = Constants(5, 1e-4, 0.75, 2.0, 2)
    maps = torch.empty(1, 96, 5, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
    assert triton_norm_last.takes(maps, constants)
    runs = triton_norm_last.runs_of(maps, constants)
    kind = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    for kernel, tensors in (
        (triton_norm_last.normalize_runs, ("values", "output")),
        (triton_norm_last.spread_runs, ("values", "pulls", "output")),
    ):
        types = dict.fromkeys(tensors, f"*{kind}")
        types |= {"number": "i32", "RUNS": "constexpr", "C": "constexpr"}
        number = len(tensors)
        places = {(number + 1,): runs, (number + 2,): constants}
        aligned = {(place,): [["tt.divisibility", 16]] for place in range(number + 1)}
        source = ASTSource(kernel, types, places, aligned)
        target = GPUTarget("cuda", capability, 32)
        made = triton.compile(source, target=target, options=triton_launch.OPTIONS)
        reads = (number - 1) * 3
        assert made.asm["ptx"].count("ld.global.v4.b32") == reads
        assert made.asm["ptx"].count("ld.global") == reads
        assert made.metadata.shared == 0
        assert "shfl" not in made.asm["ptx"]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("is_large", [False, True])
def test_triton_compiles_pooling_for_gpus_and_reads_16_bytes_at_once(
    capability: int, dtype: str, is_large: bool
) -> None:
    """Of channels_last maps, a multiple of 8; nothing goes from thread to thread."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cnnlab.models import triton_launch, triton_pool

    torch_dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}[dtype]
    maps = Maps(torch.Size((8, 96, 55, 55)), torch.channels_last)
    layout = triton_pool._layout(maps, Window(3, 2), torch_dtype)._replace(is_large=is_large)
    for kernel, tensors, reads in (
        (triton_pool._pool, {"values": dtype, "output": dtype, "places": "u8"}, 9),
        (triton_pool._gather, {"pulls": dtype, "places": "u8", "output": dtype}, 4),
    ):
        types = {name: f"*{kind}" for name, kind in tensors.items()}
        types |= {"number": "i32", "LAYOUT": "constexpr"}
        aligned = {(place,): [["tt.divisibility", 16]] for place in range(4)}
        source = ASTSource(kernel, types, {(4,): layout}, aligned)
        target = GPUTarget("cuda", capability, 32)
        made = triton.compile(source, target=target, options=triton_launch.OPTIONS)
        wide = "ld.global.v2.b64" if dtype == "fp64" else "ld.global.v4.b32"
        of_places = 0 if kernel is triton_pool._pool else reads
        assert made.asm["ptx"].count(wide) == reads
        assert made.asm["ptx"].count("ld.global") == reads + of_places
        assert made.metadata.shared == 0
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
    from cnnlab.models import triton_norm, triton_norm_last, triton_pool

    maps, constants = torch.ones(1, 8, 2, 2), LocalResponseNorm(3, 1e-4).constants
    launches = Launches(monkeypatch)
    for module in (triton_norm, triton_norm_last, triton_pool):
        for name in (
            "_normalize",
            "_gradient",
            "normalize_runs",
            "spread_runs",
            "_pool",
            "_gather",
        ):
            monkeypatch.setattr(module, name, launches, raising=False)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = maps.contiguous(memory_format=layout)
        triton_norm.normalize(given, constants)
        triton_norm.gradient(given, maps, constants)
        _, places = triton_pool.pool(given, Window(1))
        triton_pool.gradient(given, places, Maps(maps.shape, layout), Window(1))
        assert [device is given for device in launches.devices] == [True] * 4
        launches.devices.clear()


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
    for kernel in (load_by_name(kernels.KERNELS["plain"].normalization), triton_norm.KERNEL):
        layer = LocalResponseNorm(5, 1e-4, groups=groups)
        layer.kernel = kernel
        given = maps.to(dtype).clone(memory_format=layout).requires_grad_()
        output = layer(given)
        output.backward(pull)
        assert given.grad is not None
        found.append((output.detach().double(), given.grad.double()))

    tolerance = 1e-6 if dtype is torch.float32 else 2**-7
    for mine, plain in zip(*found, strict=True):
        assert float((mine - plain).abs().max() / plain.abs().max()) < tolerance


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("window", [Window(3, 2), Window(3, 2, 1, ceil=True), Window(2, 2)])
def test_on_a_gpu_triton_pools_as_torch_does(
    dtype: torch.dtype, layout: torch.memory_format, window: Window
) -> None:
    from cnnlab.models import triton_pool

    maps = torch.randn(4, 96, 55, 55, device="cuda").to(dtype).contiguous(memory_format=layout)
    maps[0, 0, :3, :3], maps[1, 1, 4, 4:6] = -torch.inf, torch.nan
    layer, found = MaxPool2d(window), list[Tensor]()
    for kernel in (None, triton_pool.KERNEL):
        layer.kernel, given = kernel, maps.clone().requires_grad_()
        output = layer(given)
        pull = torch.linspace(-1, 1, output.numel(), device="cuda").view(output.shape).to(dtype)
        output.backward(pull)
        assert given.grad is not None
        found += [output.detach().nan_to_num(7), given.grad.double()]
    assert torch.equal(found[0], found[2])
    most = {torch.bfloat16: 2**-6, torch.float16: 2**-9}.get(dtype, 1e-6)
    assert float((found[1] - found[3]).abs().max() / found[1].abs().max()) < most


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
