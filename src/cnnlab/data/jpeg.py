"""The JPEG codec: simplejpeg decodes, since it reports libjpeg's warnings; Pillow encodes.

Where data are lost, libjpeg fills with gray and only warns. simplejpeg makes each warning an error,
which is sorted here: lost data are an error, anything harmless is accepted. Both libraries release
Python's global lock. Only who decodes a JPEG imports simplejpeg: a machine without it trains on
other data.
"""

import io
import re

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnlab.data.huffman import has_legal_codes

_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_WHO_COMPLAINS = re.compile(r"^(Corrupt JPEG data: |Warning: |\w+\(\): )")
_UNKNOWN_SAMPLING = "Could not determine subsampling"
_COLORSPACES = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}

_END, _FIRST_SCAN, _ADOBE = b"\xff\xd9", b"\xff\xda", b"\xff\xee"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ADOBE_TRANSFORMS = {3: b"\0\1", 4: b"\0\2"}
"""By the number of components; libjpeg uses the last one for any other value."""


def decode_jpeg(content: bytes | bytearray | memoryview, num_components: int) -> Tensor:
    """Return uint8 [C,H,W] of a JPEG of 1 or 3 components. Raises ValueError for damaged ones."""
    colorspace = "GRAY" if num_components == 1 else "RGB"
    return torch.from_numpy(_decoded(content, colorspace)).permute(2, 0, 1)


def check_jpeg(content: bytes) -> None:
    """Raise ValueError where data are lost; of what simplejpeg cannot read, check the codes."""
    import simplejpeg

    content = _with_plain_header(content)
    try:
        colorspace = _COLORSPACES.get(simplejpeg.decode_jpeg_header(content)[2], "RGB")
    except ValueError:
        return _refuse_illegal_codes(content)
    try:
        _decoded(content, colorspace)
    except ValueError:
        if _is_readable(content, colorspace):  # so it was a warning
            raise
        _refuse_illegal_codes(content)


def encode_jpeg(image: Tensor, quality: int) -> bytes:
    """Return the JPEG of uint8 [C,H,W], colors at half the resolution (4:2:0)."""
    array, buffer = image.permute(1, 2, 0).numpy(), io.BytesIO()
    if len(image) == 1:
        Image.fromarray(array[..., 0]).save(buffer, "JPEG", quality=quality)
    else:
        Image.fromarray(array).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def decode_with_pillow(content: bytes) -> np.ndarray:
    """Return the pixels [H,W,C] that Pillow decodes. Raises ValueError where it cannot."""
    try:
        picture = Image.open(io.BytesIO(content), formats=("JPEG", "MPO"))
        picture.load()
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise ValueError(str(error)) from error
    array = np.array(picture)
    return array[..., None] if array.ndim == 2 else array


def _decoded(content: bytes | bytearray | memoryview, colorspace: str) -> np.ndarray:
    """Return [H,W,C]. Raises ValueError for those complaints of simplejpeg that mean damage."""
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(content, colorspace)
    except ValueError as error:
        complaint = str(error)

    # only the first warning is reported, so the harmless ones of a header are removed
    content, original = _with_plain_header(bytes(content)), content
    if content != original:
        try:
            return simplejpeg.decode_jpeg(content, colorspace)
        except ValueError as error:
            complaint = str(error)

    if _UNKNOWN_SAMPLING in complaint:  # legal, but none of the usual ones
        _refuse_illegal_codes(content)
        return decode_with_pillow(content)
    if left_over := _LEFT_OVER.search(complaint):
        if _follow_the_picture(content, int(left_over[1])):
            return simplejpeg.decode_jpeg(content, colorspace, strict=False)
        raise ValueError(f"{left_over[1]} bytes of the picture were left over")
    raise ValueError(_WHO_COMPLAINS.sub("", complaint))


def _is_readable(content: bytes, colorspace: str) -> bool:
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(content, colorspace, strict=False)
    except ValueError:
        return False
    return True


def _refuse_illegal_codes(content: bytes) -> None:
    if has_legal_codes(content) is False:
        raise ValueError("its Huffman codes are illegal or end too early")


def _with_plain_header(content: bytes) -> bytes:
    """Return the file without what libjpeg warns of in a header, none of which is damage:

    bytes between segments, an unknown JFIF revision, and an unknown Adobe transform.
    """
    segments, place, num_components = [content[:2]], 2, 0
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker, size = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker in (0x00, 0xFF):
            place += 1
            continue
        if marker == _FIRST_SCAN[1]:
            break

        segment = content[place : place + 2 + size]
        if marker in _FRAMES:
            num_components = int.from_bytes(segment[9:10], "big")
        segments.append(segment)
        place += 2 + size

    if place < 0:
        return content
    return b"".join([*(_plain(each, num_components) for each in segments), content[place:]])


def _plain(segment: bytes, num_components: int) -> bytes:
    if segment[4:9] == b"JFIF\0":
        return segment[:9] + b"\1" + segment[10:]
    known = _ADOBE_TRANSFORMS.get(num_components)
    is_adobe = segment[:2] == _ADOBE and segment[4:9] == b"Adobe" and len(segment) > 15
    if known and is_adobe and segment[15] not in known:
        return segment[:15] + known[-1:] + segment[16:]
    return segment


def _follow_the_picture(content: bytes, num_bytes: int) -> bool:
    """Return whether the left-over bytes follow a whole picture; else the picture is damaged.

    Where the codes are not followed (progressive), only bytes that are all alike count as padding.
    """
    whole = has_legal_codes(content)
    if whole is not None:
        return whole
    end = content.find(_END, content.find(_FIRST_SCAN))
    return len(set(content[end - num_bytes : end])) == 1
