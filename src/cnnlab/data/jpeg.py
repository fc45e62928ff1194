"""The native JPEG codec: libjpeg-turbo as torchvision carries it, else Pillow's, bit for bit alike.

torchvision's Python functions warn since 0.29 that they will move elsewhere; the operators under
them do not, take no lock of Python's, and are looked up once. Without them Pillow does the work.
Data that the decoder reports as lost make a picture a damaged one.
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

from cnnlab.data import decoder_messages
from cnnlab.data.huffman import ends_where_it_should

_UNCHANGED = 0
_HARMLESS = ("Unknown Adobe color transform",)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_END, _FIRST_SCAN = b"\xff\xd9", b"\xff\xda"


def decode_jpeg(content: bytes | bytearray | memoryview) -> Tensor:
    """Return uint8 [C,H,W] of a grey or colour JPEG. Raises ValueError for damaged ones."""
    return _codec()[0](content)


def check_jpeg(content: bytes) -> None:
    """Raise ValueError where the decoder reports lost data; what it cannot read is not judged."""
    if _codec()[0] is _decode_natively:
        _, said = _heard(content)
        _refuse_lost_data(content, said)


def notices_lost_data() -> bool:
    """Say whether damage inside a JPEG is noticed here, or only that its end is missing."""
    return _codec()[0] is _decode_natively and decoder_messages.listener() is not None


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
    found, said = _heard(content)
    if isinstance(found, RuntimeError):
        reason = re.sub(
            r"^.*\.cpp:\d+\W+", "", str(found).split("\n")[0]
        )  # where, on whose machine
        raise ValueError(reason.rsplit(": ", 1)[-1]) from found
    if said:
        _refuse_lost_data(bytes(content), said)
    return found


def _heard(content: bytes | bytearray | memoryview) -> tuple[Tensor | RuntimeError, list[str]]:
    """Return what the operator returns or raises, and what libjpeg said: its first message only."""
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    with decoder_messages.hearing() as said:
        try:
            return torch.ops.image.decode_jpeg(data, _UNCHANGED, False), said
        except RuntimeError as error:
            return error, said


def _refuse_lost_data(content: bytes, said: list[str]) -> None:
    """Raise ValueError unless what the decoder said is harmless.

    It says one thing only, so what is harmless in a header is taken away and it is asked again.
    """
    if said and (plain := _with_plain_header(content)) != content:
        content, (_, said) = plain, _heard(plain)
    for line in said:
        if left_over := _LEFT_OVER.search(line):
            if not _are_behind_the_picture(content, int(left_over[1])):
                raise ValueError(f"{left_over[1]} bytes of the picture were left over")
        elif not any(words in line for words in _HARMLESS):
            raise ValueError(line.removeprefix("Corrupt JPEG data: "))


def _with_plain_header(content: bytes) -> bytes:
    """Return the file with a known JFIF revision and nothing between its header's segments."""
    segments, place = [content[:2]], 2
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker, size = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker in (0x00, 0xFF):
            place += 1
            continue
        if marker == _FIRST_SCAN[1]:
            break
        segment = content[place : place + 2 + size]
        if segment[4:9] == b"JFIF\0":
            segment = segment[:9] + b"\1" + segment[10:]
        segments.append(segment)
        place += 2 + size
    return b"".join([*segments, content[place:]]) if place >= 0 else content


def _are_behind_the_picture(content: bytes, num_bytes: int) -> bool:
    """Tell bytes that follow a whole picture from the rest of one that lost its way.

    Where the codes are not followed (progressive), only bytes that are all alike are filling.
    """
    whole = ends_where_it_should(content)
    if whole is not None:
        return whole
    end = content.find(_END, content.find(_FIRST_SCAN))
    return len(set(content[end - num_bytes : end])) == 1


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
