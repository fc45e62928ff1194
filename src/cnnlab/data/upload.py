"""Copies from the host to a device that neither of them waits for."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_ALIGNMENT_BYTES = 16


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on `device`; a CUDA device gets it in order with what it computes.

    A copy out of ordinary memory would wait until the device has done all that it was asked to do.
    The pinned memory is new for each copy: torch gives it to another tensor once the copy is over,
    so that nothing is overwritten on its way.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def upload_together(parameters: Any, device: torch.device) -> Any:
    """Return parameters of images, as an augmentation draws them, on `device`, by a single copy."""
    if device.type == "cpu":
        return parameters
    packed = [_as_bytes(tensor) for tensor in tensors_of(parameters)]
    if not packed:
        return parameters
    there = upload(torch.cat(packed), device)
    return _unpacked(parameters, iter(there.split([len(part) for part in packed])))


def tensors_of(parameters: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples; None stands for no parameter."""
    if isinstance(parameters, tuple):
        for each in parameters:
            yield from tensors_of(each)
    elif parameters is not None:
        yield parameters


class DeviceCopies:
    """Copies of tensors that never change, one for each device that asked."""

    def __init__(self) -> None:
        self._copies: dict[torch.device, Tensor] = {}

    def of(self, tensor: Tensor, device: torch.device) -> Tensor:
        """Return `tensor`, always the same one, on `device`."""
        if tensor.device == device:
            return tensor
        if device not in self._copies:
            self._copies[device] = upload(tensor, device)
        return self._copies[device]


def _as_bytes(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor as uint8 [n], n such that any type may follow."""
    found = tensor.contiguous().flatten().view(torch.uint8)
    return F.pad(found, (0, -len(found) % _ALIGNMENT_BYTES))


def _unpacked(parameters: Any, parts: Iterator[Tensor]) -> Any:
    """Return `parameters` with the numbers of `parts`, which are views of one tensor."""
    if isinstance(parameters, tuple):
        return tuple(_unpacked(each, parts) for each in parameters)
    if parameters is None:
        return None
    numbers = next(parts)[: parameters.nbytes].view(parameters.dtype)
    return numbers.view(parameters.shape)
