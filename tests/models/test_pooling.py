"""Max pooling that a kernel may compute: when it does, and when it is torch's."""

import copy
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.geometry import Window
from cnnlab.models.layers import max_pool, window_of
from cnnlab.models.pooling import Maps, MaxPool2d, PoolKernel
from tests.models.test_kernels import BY_TORCH


def refuse(*given: Any) -> Any:
    raise AssertionError("the kernel was asked")


UNASKED = PoolKernel(refuse, refuse, refuse)


def layer_with(kernel: PoolKernel) -> MaxPool2d:
    layer = max_pool(Window(3, 2))
    layer.kernel = kernel
    return layer


def test_it_is_torchs_layer_with_a_window() -> None:
    window = Window(3, 2, 1, ceil=True)
    layer = max_pool(window)
    assert isinstance(layer, nn.MaxPool2d)
    assert repr(layer) == repr(nn.MaxPool2d(3, 2, 1, ceil_mode=True))
    assert window_of(layer) == window
    assert max_pool(Window(2, 1, dilation=2)).dilation == 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_computes_values_and_gradients_there_and_back(layout: torch.memory_format) -> None:
    asked = list[str]()

    def gradient(pull: Tensor, places: Tensor, maps: Maps, window: Window) -> Tensor:
        asked.append("back")
        assert maps == Maps(torch.Size((2, 4, 7, 7)), layout)
        return BY_TORCH.gradient(pull, places, maps, window)

    given = torch.randn(2, 4, 7, 7).contiguous(memory_format=layout).requires_grad_()
    found = layer_with(BY_TORCH._replace(gradient=gradient))(given)
    expected = F.max_pool2d(given, 3, 2)
    assert torch.equal(found, expected)
    mine, theirs = (torch.autograd.grad(y.square().sum(), given)[0] for y in (found, expected))
    assert torch.equal(mine, theirs)
    assert asked == ["back"]


def test_without_gradients_a_kernel_keeps_nothing() -> None:
    layer = copy.deepcopy(layer_with(BY_TORCH))
    assert layer(torch.randn(1, 2, 5, 5)).grad_fn is None
    with torch.no_grad():
        assert layer(torch.randn(1, 2, 5, 5, requires_grad=True)).grad_fn is None


def test_compilers_and_tracers_see_torchs_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, maps = layer_with(UNASKED), torch.randn(1, 2, 5, 5)
    for looks in ("torch.compiler.is_compiling", "torch.jit.is_tracing"):
        with mock.patch(looks, return_value=True):
            assert torch.equal(layer(maps), F.max_pool2d(maps, 3, 2))
    with pytest.raises(AssertionError, match="the kernel was asked"):
        layer(maps)


def test_what_is_no_batch_of_maps_is_torchs_business() -> None:
    layer = layer_with(UNASKED)
    assert layer(torch.randn(2, 5, 5)).shape == (2, 2, 2)
    assert layer(torch.ones(1, 1, 5, 5, dtype=torch.int64)).dtype is torch.int64
    with pytest.raises(RuntimeError, match="too small"):
        layer(torch.randn(1, 1, 2, 2))


def test_triton_leaves_windows_to_torch_that_it_cannot_compute() -> None:
    triton_pool = pytest.importorskip("cnnlab.models.triton_pool", exc_type=ImportError)
    assert triton_pool.takes(Window(16, 2, 8, ceil=True))
    assert not triton_pool.takes(Window(17))
    assert not triton_pool.takes(Window(3, 2, dilation=2))


def test_triton_counts_in_64_bits_where_maps_or_pooled_maps_have_too_many_numbers() -> None:
    triton_pool = pytest.importorskip("cnnlab.models.triton_pool", exc_type=ImportError)
    few, many = torch.Size((2, 2**18, 63, 63)), torch.Size((2, 2**18, 64, 64))
    for shape, window, is_large in (
        (few, Window(3, 2), False),
        (many, Window(3, 2), True),
        (few, Window(2, 1, 1), True),
    ):
        maps = Maps(shape, torch.channels_last)
        assert triton_pool._layout(maps, window, torch.bfloat16).is_large is is_large
