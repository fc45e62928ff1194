"""Receptive fields of any network, found while it computes: each tensor carries its field."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cnnlab.geometry import ReceptiveField, Window, whole_image

_FIELD = "_cnnlab_field"
_WINDOW_ARGUMENTS = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding", "ceil_mode"),
}
"""Functions that see windows, by torch's names, with the names of their arguments in order."""

RECTIFIERS = ("relu", "relu_")
"""By the names of their functions."""


class FieldTracer(TorchFunctionMode):
    """Follow receptive fields through the computation of a network, whatever its shape.

    Convolutions and pooling enlarge a field; functions that keep a map's size keep it; whatever
    else changes the size is taken to see the whole image. Where branches join, the largest field
    counts. num_rectified: calls of a rectifier, those inside of
    layers included.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._whole = whole_image(images.shape[-1])
        self.num_rectified = 0
        setattr(images, _FIELD, ReceptiveField())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, and give the result the field that follows from its inputs."""
        kwargs = kwargs or {}
        before = [t for t in _tensors([*args, *kwargs.values()]) if field_of(t) is not None]
        fields = [field for t in before if (field := field_of(t)) is not None]
        shapes = [t.shape for t in before]  # some functions change their input in place
        result = func(*args, **kwargs)
        if not fields:
            return result

        name = getattr(func, "__name__", "").removeprefix("_")
        self.num_rectified += name in RECTIFIERS
        window = _window(name, args, kwargs)
        for tensor in _tensors([result]):
            setattr(tensor, _FIELD, self._after(tensor, _largest(fields), shapes[0], window))
        return result

    def _after(
        self, result: Tensor, field: ReceptiveField, before: torch.Size, window: Window | None
    ) -> ReceptiveField:
        if result.dim() != 4 or field.jump_pixels == 0:
            return self._whole
        if window is not None:
            return field.through(window)
        return field if result.shape[-2:] == before[-2:] else self._whole


def field_of(tensor: Any) -> ReceptiveField | None:
    """Return the field of a tensor that was computed under a FieldTracer; None: it has none."""
    return getattr(tensor, _FIELD, None)


def _largest(fields: list[ReceptiveField]) -> ReceptiveField:
    return max(fields, key=lambda field: (field.jump_pixels == 0, field.size_pixels))


def _window(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Window | None:
    """Return the window of a function, of its height where it is not square; None: it has none."""
    if name not in _WINDOW_ARGUMENTS:
        return None

    given = dict(zip(_WINDOW_ARGUMENTS[name], args, strict=False)) | kwargs
    is_conv = name == "conv2d"
    kernel = given["weight"].shape[2] if is_conv else _side(given["kernel_size"], 1)
    dilation = _side(given.get("dilation"), 1)
    stride = _side(given.get("stride"), 1 if is_conv else kernel)
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        padding = dilation * (kernel - 1) // 2 if padding == "same" else 0
    return Window(kernel, stride, _side(padding, 0), dilation, bool(given.get("ceil_mode", False)))


def _side(value: Any, otherwise: int) -> int:
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return otherwise if value is None else int(value)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
