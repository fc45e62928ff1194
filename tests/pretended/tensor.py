"""Tensors of a pretended CUDA device: Python sees cuda:N, C++ the meta device, the CPU computes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

aten = torch.ops.aten
CPU, META = torch.device("cpu"), torch.device("meta")


class CudaTensor(Tensor):
    """A tensor of a pretended device: `values` are on the CPU, `home` is where it says to be."""

    values: Tensor
    home: torch.device

    @staticmethod
    def __new__(cls, values: Tensor, home: torch.device) -> "CudaTensor":
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=META,
        )
        made.values, made.home = values, home
        return made

    device = property(lambda self: self.home)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self, **_: object) -> str:
        return f"CudaTensor({list(self.shape)}, {self.dtype}, {self.home})"

    def __format__(self, how: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), how)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function of torch; those whose C++ part asks for the device are done here."""
        with torch._C.DisableTorchFunctionSubclass():
            if func in _BY_DEVICE:
                return _BY_DEVICE[func](*args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} of a pretended tensor outside of pretended()")


def home_of(tensor: Tensor) -> torch.device:
    """Return the device that a tensor says it is on."""
    return tensor.home if isinstance(tensor, CudaTensor) else tensor.device


def whole(device: torch.device | str | int) -> torch.device:
    """Return the device with its number: cuda is cuda:0."""
    device = torch.device(device)
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


class _Move(torch.autograd.Function):
    """A copy to another device whose gradient is copied back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, settings: dict[str, Any]) -> Tensor:
        ctx.home = home_of(tensor)
        moved: Tensor = aten._to_copy.default(tensor, **settings)
        return moved

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return aten._to_copy.default(gradients[0], device=ctx.home), None


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Tensor.to: the tensor itself where nothing changes."""
    copy = kwargs.pop("copy", False)
    args, kwargs = tree_map(lambda x: home_of(x) if isinstance(x, Tensor) else x, (args, kwargs))
    kwargs = {"device" if name == "other" else name: value for name, value in kwargs.items()}
    device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)

    moves = device is not None and whole(device) != home_of(tensor)
    converts = dtype not in (None, tensor.dtype)
    relaid = layout is not None and not tensor.is_contiguous(memory_format=layout)
    if not (moves or converts or relaid or copy):
        return tensor

    settings: dict[str, Any] = {"dtype": dtype, "memory_format": layout}
    if not moves:
        same: Tensor = aten._to_copy.default(tensor, **settings)
        return same
    settings |= {"device": whole(device), "non_blocking": non_blocking}
    moved = _Move.apply(tensor, settings)
    assert isinstance(moved, Tensor)
    return moved


def _with_tensors(index: Any) -> Any:
    """Return an index with host tensors for lists, of which C++ would make meta tensors."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(each) for each in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _set_item(tensor: Tensor, index: Any, value: Any) -> None:
    """Tensor.__setitem__: a number that goes where tensors say would be a meta tensor as well."""
    index = _with_tensors(index)
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(value, Tensor) and any(isinstance(part, Tensor) for part in parts):
        value = torch.tensor(value, dtype=tensor.dtype)
    tensor.__setitem__(index, value)


_BY_DEVICE: dict[Any, Callable[..., Any]] = {
    Tensor.to: _to,
    Tensor.__getitem__: lambda tensor, index: tensor.__getitem__(_with_tensors(index)),
    Tensor.__setitem__: _set_item,
    Tensor.cpu: lambda tensor, **settings: _to(tensor, CPU, **settings),
    Tensor.cuda: lambda tensor, device=0, **settings: _to(tensor, whole(device), **settings),
    Tensor.tolist: lambda tensor: _to(tensor, CPU).tolist(),
    Tensor.new_tensor: lambda tensor, data, **settings: torch.tensor(
        data, **{"dtype": tensor.dtype, "device": tensor.home} | settings
    ),
}
