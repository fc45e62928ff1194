"""Checkpoints: named tensors and a JSON document in one verified file.

The file is a `.safetensors` file that every reader of that format opens. Nothing in it is ever
executed, imported or resolved, and its digest is compared before anything is parsed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnlab.config import renamed
from cnnlab.errors import CheckpointError, NumericsError
from cnnlab.files import checksummed, tensor_header
from cnnlab.files.checksummed import verify
from cnnlab.files.tensor_header import FORMAT_VERSION, Entry
from cnnlab.safe_output import escape_control

__all__ = ["FORMAT_VERSION", "Checkpoint", "copy_into", "read", "section", "verify", "write"]

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_PIECE_BYTES = 1 << 20
_NUM_DIFFERENCES_SHOWN = 5


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: tensors by name, and plain data with its `format_version`.

    The tensors are on the CPU and share one buffer: copy from them (`copy_into`) and drop them,
    or the whole file stays in memory.
    """

    tensors: dict[str, torch.Tensor]
    document: dict[str, Any]


def write(path: str | Path, tensors: dict[str, torch.Tensor], document: dict[str, Any]) -> None:
    """Write one verified file; a previous file at `path` stays until the new one is complete.

    tensors: on any device, any memory format. document: plain data; `format_version` is added.
    Raises NumericsError for a tensor or number that is not finite, ResourceError when the disk is
    full or the folder not writable; in all cases nothing has changed on disk.
    """
    entries = [Entry(name, _dtype_name(name, t), tuple(t.shape)) for name, t in tensors.items()]
    placed = tensor_header.place(entries)
    header = tensor_header.build(placed, {**document, "format_version": FORMAT_VERSION})
    pieces = (piece for e in placed for piece in _finite_pieces(e.name, tensors[e.name]))
    checksummed.write(path, header, pieces, sum(entry.num_bytes for entry in placed))


def read(path: str | Path) -> Checkpoint:
    """Read a file that `write` made; the keys of the config in its document are those of today.

    Raises CheckpointError when it is missing, foreign, damaged, malformed, written by a newer
    cnnlab, or holds a value that is not finite; ResourceError when memory does not suffice.
    """
    where = escape_control(str(path))
    header, data = checksummed.read(path)
    entries, document = tensor_header.parse(header, len(data), where)
    if "config" in document:
        document["config"] = renamed.current(document["config"])

    tensors = {entry.name: _view(entry, data) for entry in entries}
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            message = (
                f"the checkpoint's tensor {escape_control(name)} has values that are not finite"
            )
            raise CheckpointError(message, where, "use an older checkpoint of the run")
    return Checkpoint(tensors, document)


def section(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose name starts with `prefix`, by the rest of their name."""
    return {n[len(prefix) :]: tensor for n, tensor in tensors.items() if n.startswith(prefix)}


@torch.no_grad()
def copy_into(
    targets: dict[str, torch.Tensor], sources: dict[str, torch.Tensor], where: str | Path = ""
) -> None:
    """Copy each source into the target of the same name, on any device.

    Names, shapes and types are compared before the first copy. Raises CheckpointError with the
    first five differences, the targets unchanged.
    """
    if differences := list(_differences(targets, sources)):
        shown = "; ".join(differences[:_NUM_DIFFERENCES_SHOWN])
        more = len(differences) - _NUM_DIFFERENCES_SHOWN
        raise CheckpointError(
            "the checkpoint does not fit the model",
            escape_control(str(where)),
            shown + (f"; and {more} more" if more > 0 else ""),
        )
    for name, target in targets.items():
        target.copy_(sources[name])


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether no value is NaN or infinite, and bools are 0 or 1.

    A sum is 20 times as fast as a test of each value, and a finite sum proves finite terms; only
    if it is not finite (it may have overflowed), the values are tested piece by piece.
    """
    if tensor.dtype is torch.bool:
        return tensor.numel() == 0 or int(tensor.view(torch.uint8).max()) <= 1
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):
        return True
    pieces = tensor.detach().reshape(-1).split(_PIECE_BYTES)
    return all(bool(torch.isfinite(piece).all()) for piece in pieces)


def _differences(
    targets: dict[str, torch.Tensor], sources: dict[str, torch.Tensor]
) -> Iterator[str]:
    for name, target in targets.items():
        source = sources.get(name)
        if source is None:
            yield f"{name} is missing"
        elif source.shape != target.shape:
            yield f"{name} is {_size(source)} instead of {_size(target)}"
        elif source.dtype != target.dtype:
            yield f"{name} is {_short(source)} instead of {_short(target)}"
    yield from (
        f"{escape_control(name)} is not in the model" for name in sources if name not in targets
    )


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _short(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _dtype_name(name: str, tensor: torch.Tensor) -> str:
    if tensor.dtype not in _NAMES:
        raise TypeError(f"{name} is {tensor.dtype}, which checkpoints cannot store")
    return _NAMES[tensor.dtype]


def _finite_pieces(name: str, tensor: torch.Tensor) -> Iterator[memoryview]:
    """Yield the bytes in row-major order, a few MB at a time, from any device.

    Raises NumericsError for a piece that is not finite; it is tested while it is in the cache.
    """
    flat = tensor.detach().reshape(-1)
    for part in flat.split(max(1, _PIECE_BYTES // flat.element_size())):
        piece = part.cpu()
        if not is_finite(piece):
            raise NumericsError(f"{name} holds values that are not finite and is not saved")
        if piece.numel():
            yield memoryview(piece.view(torch.uint8).numpy())


def _view(entry: Entry, data: memoryview) -> torch.Tensor:
    dtype = _DTYPES[entry.dtype]
    if entry.num_bytes == 0:
        return torch.empty(entry.shape, dtype=dtype)
    count = entry.num_bytes // dtype.itemsize
    flat = torch.frombuffer(data, dtype=dtype, count=count, offset=entry.start)
    return flat.view(entry.shape)
