"""One image file -> uint8 pixels, with a stated outcome for every kind of file.

Converted: 8-bit gray, color, palette, 1-bit; 16-bit gray scaled by 1/257; CMYK and YCbCr by
Pillow's formulas; alpha blended over white; EXIF orientation applied. The content decides, not the
file's extension. Rejected with a reason: everything else, and pictures whose decoder or checksum
reports lost pixels. Nothing is clipped or replaced.
"""

import contextlib
import errno
import io
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cnnlab import images as pixels
from cnnlab import system
from cnnlab.data import png
from cnnlab.data.jpeg import check_jpeg, decode_jpeg
from cnnlab.files.atomic import NO_HANDLES
from cnnlab.safe_output import escape_control

POLICY = (
    "2: 16-bit/257, alpha and clear color over white, EXIF applied, several frames refused,"
    " lost JPEG data and broken PNG chunks refused"
)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 1 << 28
MAX_ASPECT = 20
SHORTAGES = NO_HANDLES | {errno.ENOMEM}
"""Errors of the machine, not of the file: an image is not called bad for them."""

_ORIENTATION = 0x0112
_PLAIN_MODES = {"L", "RGB", "CMYK", "YCbCr"}
_ALPHA_MODES = {"LA", "PA", "RGBA", "La", "RGBa"}


class BadImage(Exception):  # noqa: N818 - it names what was found
    """A file without a usable image. reason: half a sentence."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{escape_control(str(self.path))}: {escape_control(self.reason)}"


def read_image(path: Path, channels: int, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Return uint8 [channels,H,W] (1: gray, 3: color). Raises BadImage."""
    with quiet():
        return decode(read_file(path), path, channels, max_pixels)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings: what they warn of is checked here.

    For one thread at a time: Python's warning filters are shared by all threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file that is neither empty nor absurdly large.

    Checked before it is opened, and opened without waiting: a FIFO cannot hang the reader.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(path, f"{_kind(status.st_mode)}, not a file")
        if not 0 < status.st_size <= MAX_FILE_BYTES:
            raise BadImage(path, "empty file" if status.st_size == 0 else "file above 256 MiB")

        descriptor = os.open(path, os.O_RDONLY | system.NO_WAIT | system.PRIVATE)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    except OSError as error:
        if error.errno in SHORTAGES:
            raise  # not the file's fault
        dangling = isinstance(error, FileNotFoundError) and path.is_symlink()
        reason = "dangling link" if dangling else (error.strerror or str(error)).lower()
        raise BadImage(path, reason) from error


def decode(content: bytes, path: Path, channels: int, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Return uint8 [channels,H,W] for the bytes of one file; path is for the message.

    JPEGs of one or three components are decoded by simplejpeg (equal to Pillow, faster, and it
    reports lost data), everything else by Pillow. Raises BadImage.
    """
    header = read_jpeg_header(content)
    if header is None or header["components"] not in (1, 3):
        return _decode_with_pillow(content, path, channels, max_pixels)
    check_size(header["width"], header["height"], path, max_pixels)
    try:
        image = decode_jpeg(content, header["components"])
    except ValueError as error:
        raise BadImage(path, f"damaged JPEG ({str(error)[:80]})") from error
    return pixels.to_channels(turn(image, header["orientation"])[None], channels)[0]


def check_size(width: int, height: int, path: Path, max_pixels: int) -> None:
    """Raise BadImage for a size in the header that is too large, before any pixel is decoded."""
    if width * height > max_pixels:
        raise BadImage(path, f"{width}x{height} is more than {max_pixels:,} pixels")
    if max(width, height) > MAX_ASPECT * max(1, min(width, height)):
        raise BadImage(path, f"{width}x{height} has an aspect ratio above {MAX_ASPECT}:1")


def turn(image: Tensor, orientation: int) -> Tensor:
    """Turn [C,H,W] upright for an EXIF orientation of 1 to 8; other values change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 2)
    if orientation in (2, 3, 6, 7):
        image = image.flip(2)
    if orientation in (3, 4, 7, 8):
        image = image.flip(1)
    return image


def read_jpeg_header(content: bytes) -> dict[str, int] | None:
    """Return width, height, components and EXIF orientation of a baseline or progressive JPEG.

    None for anything else, and for a malformed header: Pillow decides about those.
    Source: ITU-T T.81 annex B.
    """
    if content[:3] != b"\xff\xd8\xff":
        return None

    place, orientation = 2, 1
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker, size = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):
            return _frame_header(content[place + 4 : place + 2 + size], orientation)
        # the first scan, another coding, or no segment at all: no frame header comes any more
        if marker in (0xC3, 0xDA) or size < 2 or 0xC5 <= marker <= 0xC7 or 0xC9 <= marker <= 0xCF:
            return None
        if marker == 0xE1 and content[place + 4 : place + 10] == b"Exif\0\0":
            orientation = _read_orientation(content[place + 4 : place + 2 + size])
        place += 2 + size
    return None


def _frame_header(segment: bytes, orientation: int) -> dict[str, int] | None:
    if len(segment) < 6:
        return None
    precision, height, width, components = struct.unpack(">BHHB", segment[:6])
    if precision != 8 or width == 0 or height == 0:
        return None
    return {
        "width": width,
        "height": height,
        "components": components,
        "orientation": orientation,
    }


def _read_orientation(segment: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(segment)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse the pixels
        return 1
    return value if isinstance(value, int) else 1


def _decode_with_pillow(content: bytes, path: Path, channels: int, max_pixels: int) -> Tensor:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        check_size(*picture.size, path, max_pixels)
        return _convert(picture, _checked(picture.format, content, path), path, channels)

    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(path, f"more than {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise BadImage(path, _guess(content)) from error
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise BadImage(
            path, f"damaged image ({type(error).__name__}: {str(error)[:80]})"
        ) from error


def _checked(kind: str | None, content: bytes, path: Path) -> png.Png | None:
    """Raise BadImage for lost data that Pillow does not report; return the facts of a PNG."""
    try:
        if kind in ("JPEG", "MPO"):
            check_jpeg(content)
        return png.check(content) if kind == "PNG" else None
    except ValueError as error:
        raise BadImage(path, f"damaged {kind} ({error})") from error


def _convert(picture: Any, known: png.Png | None, path: Path, channels: int) -> Tensor:
    kind, num_frames = picture.format, getattr(picture, "n_frames", 1)
    if num_frames > 1 and kind != "MPO":  # cameras put a preview after the picture
        raise BadImage(path, f"{num_frames} frames, expected one image")
    if known is not None and known.color_key and known.bit_depth == 16:
        raise BadImage(path, "a transparent color of 16 bits, of which only the upper 8 are read")

    picture.load()
    picture = ImageOps.exif_transpose(picture)  # a copy, which has no format
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind == "PPM"):
        return _from_16_bits(picture, known, channels)
    if picture.mode in ("I", "F"):
        raise BadImage(path, "32-bit pixels of unknown range")

    if picture.mode == "L" and known is not None and known.transparent is not None:
        picture.info["transparency"] = known.transparent * 255 // ((1 << known.bit_depth) - 1)
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        picture = _over_white(picture)
    elif picture.mode not in _PLAIN_MODES and picture.mode not in ("P", "1"):
        raise BadImage(path, f"pixels of mode {picture.mode}")
    picture = picture.convert("L" if picture.mode in ("L", "1") else "RGB")
    array = torch.from_numpy(np.array(picture))
    image = array[None] if array.dim() == 2 else array.permute(2, 0, 1)
    return pixels.to_channels(image[None], channels)[0]


def _from_16_bits(picture: Any, known: png.Png | None, channels: int) -> Tensor:
    """Scale 0..65535 to 0..255, white where the picture is transparent."""
    levels = np.asarray(picture)
    gray = np.rint(levels.astype(np.float64) / 257).astype(np.uint8)
    if known is not None and known.transparent is not None:
        gray[levels == known.transparent] = 255
    return pixels.to_channels(torch.from_numpy(gray)[None, None], channels)[0]


def _over_white(picture: Any) -> Any:
    color = picture.convert("RGBA")
    white = Image.new("RGBA", color.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, color).convert("RGB")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _guess(content: bytes) -> str:
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "a web page, not an image"
    if start.startswith((b"<svg", b"<?xml")):
        return "a drawing (SVG or XML), not pixels"
    return "no image of a known format"
