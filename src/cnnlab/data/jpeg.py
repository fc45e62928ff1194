"""The native JPEG codec: libjpeg-turbo as torchvision carries it, else Pillow's, bit for bit alike.

torchvision's Python functions warn since 0.29 that they will move elsewhere; the operators under
them do not, take no lock of Python's, and are looked up once. Without them Pillow does the work.
"""

import io
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_UNCHANGED = 0


def decode_jpeg(content: bytes | bytearray | memoryview) -> Tensor:
    """Return uint8 [C,H,W] of a grey or colour JPEG. Raises ValueError for damaged ones."""
    return _codec()[0](content)


def encode_jpeg(image: Tensor, quality: int) -> bytes:
    """Return the JPEG of uint8 [C,H,W]."""
    return _codec()[1](image, quality)


@cache
def _codec() -> tuple[Callable[[Any], Tensor], Callable[[Tensor, int], bytes]]:
    try:
        import torchvision.io  # noqa: F401 - registers the operators

        native = torch.ops.image
        native.decode_jpeg, native.encode_jpeg  # noqa: B018 - are they there?
    except (ImportError, AttributeError, RuntimeError):
        return decode_with_pillow, encode_with_pillow
    return _decode_natively, _encode_natively


def _decode_natively(content: bytes | bytearray | memoryview) -> Tensor:
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    try:
        return torch.ops.image.decode_jpeg(data, _UNCHANGED, False)
    except RuntimeError as error:
        said = re.sub(r"^.*\.cpp:\d+\W+", "", str(error).split("\n")[0])  # where, on whose machine
        raise ValueError(said.rsplit(": ", 1)[-1]) from error


def _encode_natively(image: Tensor, quality: int) -> bytes:
    return torch.ops.image.encode_jpeg(image.contiguous(), quality).numpy().tobytes()


def decode_with_pillow(content: bytes | bytearray | memoryview) -> Tensor:
    """Do what `decode_jpeg` does, without torchvision."""
    try:
        picture = Image.open(io.BytesIO(content), formats=("JPEG", "MPO"))
        picture.load()
    except OSError as error:
        raise ValueError(str(error)) from error
    array = torch.from_numpy(np.array(picture))
    return array[None] if array.dim() == 2 else array.permute(2, 0, 1)


def encode_with_pillow(image: Tensor, quality: int) -> bytes:
    """Do what `encode_jpeg` does, without torchvision."""
    array = image.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if len(image) == 1 else array).save(
        buffer, "JPEG", quality=quality, subsampling=2
    )
    return buffer.getvalue()
