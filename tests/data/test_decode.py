"""Case by case: what becomes of every kind of file that is called an image."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from cnnlab.data import jpeg
from cnnlab.data.decode import BadImage, decode, read_image, read_jpeg_header, turn
from cnnlab.data.huffman import has_legal_codes
from tests.data.pictures import smooth_picture

PICTURE = smooth_picture(3, 60, 48)
COLOR = np.asarray(PICTURE)
GRAY = np.asarray(PICTURE.convert("L"))


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(levels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(levels.astype(np.uint16)), "PNG")


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(PICTURE, "JPEG", quality=95, exif=exif)


IDAT = struct.pack(">I", 13) + b"IDAT" + bytes(17)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + IDAT
    )


def png_of(depth: int, color_type: int, row: bytes, clear: bytes, width: int = 8) -> bytes:
    """A PNG of one row whose clear color is `clear`."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, color_type, 0, 0, 0)),
        (b"tRNS", clear),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pgm(levels: np.ndarray, most: int) -> bytes:
    height, width = levels.shape
    return b"P5\n%d %d\n%d\n" % (width, height, most) + levels.astype(">u2").tobytes()


def with_end(content: bytes, extra: bytes) -> bytes:
    """Put bytes between a picture and its end marker."""
    return content[:-2] + extra + content[-2:]


def zeroed(content: bytes, place: float, num_bytes: int) -> bytes:
    first = int(len(content) * place)
    return content[:first] + bytes(num_bytes) + content[first + num_bytes :]


DETAILED = Image.fromarray(
    np.kron(np.random.default_rng(7).integers(0, 256, (12, 15, 3)), np.ones((4, 4, 1))).astype("u1")
)
"""Codes of many lengths, as photographs have them."""
FINE = encoded(DETAILED, "JPEG", quality=95)
FINE_PIXELS = np.asarray(Image.open(io.BytesIO(FINE)))
FINE_PROGRESSIVE = encoded(DETAILED, "JPEG", quality=95, progressive=True)
RESTARTED = encoded(DETAILED, "JPEG", quality=95, restart_marker_blocks=2)
RESTARTS = [
    place for place in range(len(RESTARTED) - 1)
    if RESTARTED[place] == 0xFF and 0xD0 <= RESTARTED[place + 1] <= 0xD7
]  # fmt: skip
FINE_CMYK = encoded(DETAILED.convert("CMYK"), "JPEG", quality=95)


def of_unknown_revision(content: bytes) -> bytes:
    place = content.index(b"JFIF\0") + 5
    return content[:place] + b"\7" + content[place + 1 :]


def with_gaps(content: bytes) -> bytes:
    """Put bytes before the picture's tables and before its frame header, as some cameras do."""
    for marker in (b"\xff\xc4", b"\xff\xc0"):
        place = content.index(marker)
        content = content[:place] + b"\0\0padding" + content[place:]
    return content


def of_unknown_transform(content: bytes) -> bytes:
    """Put an Adobe segment with a transform that nobody defined in place of the JFIF one."""
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09"
    size = int.from_bytes(content[4:6], "big")
    return content[:2] + adobe + content[4 + size :]


def with_bad_code(content: bytes) -> bytes:
    """Sixteen ones begin no code; written between stuffed bytes they are no marker."""
    place = content.index(b"\xff\xda") + 200
    return content[:place] + b"\xff\x00" * 12 + content[place + 24 :]


JPEG = encoded(PICTURE, "JPEG", quality=95)
PNG = encoded(PICTURE, "PNG")
TRANSPARENT = np.dstack([COLOR, np.where(np.arange(60) < 30, 255, 0)[None].repeat(48, 0)])
OVER_WHITE = np.where(TRANSPARENT[..., 3:] == 255, COLOR, 255)

SAME: dict[str, tuple[Callable[[], bytes], np.ndarray, float]] = {
    "png": (lambda: PNG, COLOR, 0),
    "bmp": (lambda: encoded(PICTURE, "BMP"), COLOR, 0),
    "tiff": (lambda: encoded(PICTURE, "TIFF"), COLOR, 0),
    "ppm": (lambda: encoded(PICTURE, "PPM"), COLOR, 0),
    "lossless webp": (lambda: encoded(PICTURE, "WEBP", lossless=True), COLOR, 0),
    "jpeg": (lambda: JPEG, COLOR, 2),
    "progressive jpeg": (lambda: encoded(PICTURE, "JPEG", quality=95, progressive=True), COLOR, 2),
    "jpeg full color": (lambda: encoded(PICTURE, "JPEG", quality=95, subsampling=0), COLOR, 2),
    "gray jpeg": (lambda: encoded(PICTURE.convert("L"), "JPEG", quality=95), GRAY, 2),
    "gray png": (lambda: encoded(PICTURE.convert("L"), "PNG"), GRAY, 0),
    "cmyk jpeg": (lambda: encoded(PICTURE.convert("CMYK"), "JPEG", quality=95), COLOR, 3),
    "cmyk tiff": (lambda: encoded(PICTURE.convert("CMYK"), "TIFF"), COLOR, 0),
    "gray and opaque alpha": (lambda: encoded(PICTURE.convert("LA"), "PNG"), GRAY, 0),
    "opaque alpha": (lambda: encoded(PICTURE.convert("RGBA"), "PNG"), COLOR, 0),
    "alpha over white": (
        lambda: encoded(Image.fromarray(TRANSPARENT.astype(np.uint8)), "PNG"),
        OVER_WHITE,
        0,
    ),
    "palette": (
        lambda: encoded(PICTURE.quantize(256), "PNG"),
        np.asarray(PICTURE.quantize(256).convert("RGB")),
        0,
    ),
    "palette with transparency": (
        lambda: encoded(PICTURE.quantize(4), "PNG", transparency=0),
        np.where(
            (np.asarray(PICTURE.quantize(4)) == 0)[..., None],
            255,
            np.asarray(PICTURE.quantize(4).convert("RGB")),
        ),
        0,
    ),
    "gif": (
        lambda: encoded(PICTURE.quantize(64), "GIF"),
        np.asarray(PICTURE.quantize(64).convert("RGB")),
        0,
    ),
    "one bit": (
        lambda: encoded(PICTURE.convert("1"), "PNG"),
        np.asarray(PICTURE.convert("1").convert("L")),
        0,
    ),
    "16-bit png": (lambda: png16(GRAY.astype(np.uint16) * 257), GRAY, 0),
    "16-bit tiff": (
        lambda: encoded(Image.fromarray(GRAY.astype(np.uint16) * 257), "TIFF"),
        GRAY,
        0,
    ),
    "16-bit png between the levels": (lambda: png16(GRAY.astype(np.uint16) * 257 + 64), GRAY, 0),
    "16-bit pgm": (lambda: pgm(GRAY.astype(np.uint16) * 257, 65535), GRAY, 0),
    "12-bit pgm": (lambda: pgm(np.rint(GRAY * (4095 / 255)), 4095), GRAY, 0),
    "16-bit gray, one clear": (
        lambda: encoded(
            Image.fromarray(np.where(np.arange(60) < 30, 777, 0)[None].repeat(48, 0).astype("u2")),
            "PNG",
            transparency=777,
        ),
        np.where(np.arange(60) < 30, 255, 0)[None].repeat(48, 0),
        0,
    ),
    "8-bit gray, one clear": (
        lambda: png_of(8, 0, bytes([9, 8, 7, 7]), b"\0\7", width=4),
        np.array([[9, 8, 255, 255]]),
        0,
    ),
    "4-bit gray, one clear": (
        lambda: png_of(4, 0, bytes([0x31, 0x22]), b"\0\2", width=4),
        np.array([[51, 17, 255, 255]]),
        0,
    ),
    "2-bit gray, one clear": (
        lambda: png_of(2, 0, bytes([0b00_01_10_10]), b"\0\2", width=4),
        np.array([[0, 85, 255, 255]]),
        0,
    ),
    "1-bit gray, one clear": (
        lambda: png_of(1, 0, bytes([0b0000_0011]), b"\0\0"),
        np.full((1, 8), 255),
        0,
    ),
    "8-bit color, one clear": (
        lambda: png_of(8, 2, bytes([1, 2, 3, 4, 5, 6]), bytes([0, 4, 0, 5, 0, 6]), width=2),
        np.array([[[1, 2, 3], [255, 255, 255]]]),
        0,
    ),
    "extra zeros before a jpeg's end": (lambda: with_end(FINE, bytes(64)), FINE_PIXELS, 0),
    "extra text before a jpeg's end": (
        lambda: with_end(FINE, b"made by a camera of 1999; " * 9),
        FINE_PIXELS,
        0,
    ),
    "extra bytes behind restarts": (
        lambda: with_end(RESTARTED, b"123456789"),
        FINE_PIXELS,
        0,
    ),
    "filling before a progressive jpeg's end": (
        lambda: with_end(FINE_PROGRESSIVE, bytes(40)),
        FINE_PIXELS,
        0,
    ),
    "bytes behind a jpeg's end": (lambda: FINE + b"a thumbnail", FINE_PIXELS, 0),
    "a jpeg of unknown revision": (lambda: of_unknown_revision(FINE), FINE_PIXELS, 0),
    "a jpeg of unknown transform": (lambda: of_unknown_transform(FINE), FINE_PIXELS, 0),
    "a jpeg with bytes between its headers": (lambda: with_gaps(FINE), FINE_PIXELS, 0),
    "bytes behind a png's end": (lambda: PNG + b"more", COLOR, 0),
    "exif upright": (lambda: with_orientation(1), COLOR, 2),
    "exif turned": (lambda: with_orientation(6), np.rot90(COLOR, -1), 2),
    "exif upside down": (lambda: with_orientation(3), COLOR[::-1, ::-1], 2),
    "exif nonsense": (lambda: with_orientation(77), COLOR, 2),
    "camera file with preview": (
        lambda: encoded(PICTURE, "MPO", quality=95, save_all=True, append_images=[PICTURE]),
        COLOR,
        2,
    ),
    "one pixel": (lambda: encoded(PICTURE.crop((0, 0, 1, 1)), "PNG"), COLOR[:1, :1], 0),
    "15 times as wide": (
        lambda: encoded(PICTURE.resize((60, 4)), "PNG"),
        np.asarray(PICTURE.resize((60, 4))),
        0,
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_it_is_converted_without_a_change_of_values(kind: str, tmp_path: Path) -> None:
    make, expected, tolerance = SAME[kind]
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    for ending in (".jpg", ".png"):  # the content decides, not the name
        path = tmp_path / f"picture{ending}"
        path.write_bytes(make())
        found = read_image(path, 3).permute(1, 2, 0).numpy().astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() <= tolerance
        assert abs(found.mean() - expected.mean()) < 1


def float_tiff() -> bytes:
    return encoded(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF")


def int_tiff() -> bytes:
    return encoded(Image.fromarray(GRAY.astype(np.int32)), "TIFF")


def animation(kind: str) -> bytes:
    other = smooth_picture(4, 60, 48)
    return encoded(PICTURE, kind, save_all=True, append_images=[other])


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty file"),
    "text": (lambda: b"hello world", "no image of a known format"),
    "a web page": (lambda: b"<!DOCTYPE html><html>404</html>", "a web page"),
    "a drawing": (lambda: b"<?xml version='1.0'?><svg/>", "a drawing"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),
    "a jpeg's first bytes": (lambda: JPEG[:3], "no image|damaged"),
    "a jpeg's header": (lambda: JPEG[:200], "damaged"),
    "a quarter of a jpeg": (lambda: JPEG[: len(JPEG) // 4], "damaged|no image"),
    "half a jpeg": (lambda: JPEG[: len(JPEG) // 2], "damaged"),
    "nine tenths of a jpeg": (lambda: JPEG[: len(JPEG) * 9 // 10], "damaged"),
    "a jpeg without its last byte": (lambda: JPEG[:-1], "damaged"),
    "a png's header": (lambda: PNG[:40], "damaged|no image"),
    "half a png": (lambda: PNG[: len(PNG) // 2], "damaged"),
    "a png with a flipped byte": (
        lambda: PNG[:200] + bytes([PNG[200] ^ 0xFF]) + PNG[201:],
        "damaged",
    ),
    "a jpeg with zeros inside": (lambda: zeroed(FINE, 0.5, 120), "left over|premature|Huffman"),
    "a jpeg that ends too early": (lambda: FINE[:-300] + FINE[-2:], "premature end"),
    "a jpeg without codes": (lambda: FINE[: FINE.index(b"\xff\xda") + 14] + FINE[-2:], "premature"),
    "a jpeg with a bad code": (lambda: with_bad_code(FINE), "Huffman code"),
    "a jpeg without one restart marker": (
        lambda: RESTARTED[: RESTARTS[3]] + RESTARTED[RESTARTS[3] + 2 :],
        "extraneous bytes before marker 0xd4",
    ),
    "a jpeg without one restarted part": (
        lambda: RESTARTED[: RESTARTS[2]] + RESTARTED[RESTARTS[3] :],
        "instead of RST2",
    ),
    "a jpeg whose restart markers changed places": (
        lambda: RESTARTED[: RESTARTS[1] + 1] + b"\xd5" + RESTARTED[RESTARTS[1] + 2 :],
        "instead of RST1",
    ),
    "a progressive jpeg with zeros inside": (
        lambda: zeroed(FINE_PROGRESSIVE, 0.6, 100),
        "extraneous|left over|premature|Huffman",
    ),
    "a damaged jpeg of unknown revision": (
        lambda: of_unknown_revision(FINE[:-300] + FINE[-2:]),
        "premature end",
    ),
    "a damaged jpeg of unknown transform": (
        lambda: of_unknown_transform(FINE[:-300] + FINE[-2:]),
        "premature end",
    ),
    "a damaged jpeg with bytes between its headers": (
        lambda: with_gaps(FINE[:-300] + FINE[-2:]),
        "premature end",
    ),
    "a damaged cmyk jpeg": (lambda: FINE_CMYK[:-500] + FINE_CMYK[-2:], "premature end"),
    "a png whose second half is zeros": (
        lambda: zeroed(encoded(DETAILED, "PNG"), 0.5, 10**4)[: len(encoded(DETAILED, "PNG"))],
        "chunk IDAT is broken",
    ),
    "a png with a wrong checksum": (
        lambda: PNG.replace(b"IEND\xaeB", b"IEND\xaeC"),
        "chunk IEND is broken",
    ),
    "a png without its end chunk": (lambda: PNG[:-12], "end chunk is missing"),
    "a png that ends in a chunk": (lambda: PNG[:-16], "IDAT is cut off"),
    "one clear color of 16 bits": (
        lambda: png_of(16, 2, bytes(12), bytes(6), width=2),
        "transparent color of 16 bits",
    ),
    "float pixels": (float_tiff, "32-bit pixels"),
    "32-bit integers": (int_tiff, "32-bit pixels"),
    "an animated gif": (lambda: animation("GIF"), "2 frames"),
    "an animated png": (lambda: animation("PNG"), "2 frames"),
    "a tiff of two pages": (lambda: animation("TIFF"), "2 frames"),
    "a bomb's header": (lambda: png_header(13400, 13400), "more than 50,000,000 pixels"),
    "a bomb": (
        lambda: encoded(Image.new("1", (9400, 9400)), "PNG"),
        "more than 50,000,000 pixels",
    ),
    "1x5000": (lambda: encoded(Image.new("RGB", (5000, 1)), "PNG"), "aspect ratio above 20:1"),
    "5000x1 jpeg": (
        lambda: encoded(Image.new("RGB", (1, 5000)), "JPEG"),
        "aspect ratio above 20:1",
    ),
    "a numpy array": (lambda: b"\x93NUMPY" + bytes(200), "no image"),
    "zeros": (lambda: bytes(5000), "no image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_it_is_rejected_with_path_and_reason(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = BAD[kind]
    path = tmp_path / "picture.jpg"
    path.write_bytes(make())
    with pytest.raises(BadImage, match=reason) as caught:
        read_image(path, 3)
    assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")  # no decoder speaks for itself


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_unreadable(path: Path) -> None:
    path.write_bytes(JPEG)
    path.chmod(0)


def make_nothing(path: Path) -> None:
    pass


STRANGE = {
    "a folder": (make_folder, "folder, not a file"),
    "a FIFO": (make_fifo, "FIFO, not a file"),
    "a dangling link": (make_dangling_link, "dangling link"),
    "a link to itself": (make_loop, "symbolic links"),
    "nothing": (make_nothing, "no such file"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_is_rejected_at_once(kind: str, tmp_path: Path) -> None:
    make, reason = STRANGE[kind]
    make(tmp_path / "picture.jpg")
    with pytest.raises(BadImage, match=reason):
        read_image(tmp_path / "picture.jpg", 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_rejected(tmp_path: Path) -> None:
    make_unreadable(tmp_path / "picture.jpg")
    with pytest.raises(BadImage, match="permission denied"):
        read_image(tmp_path / "picture.jpg", 3)


def test_a_name_that_is_not_utf8_is_read_and_shown_escaped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J.jpg"))
    path.write_bytes(JPEG)
    assert read_image(path, 3).shape == (3, 48, 60)
    path.write_bytes(b"")
    with pytest.raises(BadImage) as caught:
        read_image(path, 3)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_applies_it(orientation: int) -> None:
    from PIL import ImageOps

    content = with_orientation(orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    found = decode(content, Path("x"), 3).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, expected)
    assert read_jpeg_header(content)["orientation"] == orientation


def test_turning_a_stranger_orientation_changes_nothing() -> None:
    image = torch.arange(6).view(1, 2, 3)
    assert torch.equal(turn(image, 0), image)


@pytest.mark.parametrize("sampling", ["444", "422", "440", "420", "411"])
@pytest.mark.parametrize("quality", [30, 90])
def test_the_decoder_equals_pillow_bit_for_bit(sampling: str, quality: int) -> None:
    array = np.asarray(smooth_picture(9, 83, 61))
    content = simplejpeg.encode_jpeg(array, quality, colorsubsampling=sampling)
    found = jpeg.decode_jpeg(content, 3).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, jpeg.decode_with_pillow(content))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"progressive": True}),
        ("L", {}),
        ("L", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
    ],
)
def test_other_kinds_of_jpeg_equal_pillow_bit_for_bit(mode: str, options: dict[str, bool]) -> None:
    content = encoded(smooth_picture(9, 83, 61).convert(mode), "JPEG", quality=90, **options)
    found = jpeg.decode_jpeg(content, len(mode)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, jpeg.decode_with_pillow(content))


def of_sampling(across: int, down: int, num_mcus: int = 4) -> bytes:
    """A row of MCUs of plain blocks, gray sampled so much more finely than the colors.

    libjpeg-turbo's interface for decoding has names for few of them; the codes are annex K's.
    """
    picture = Image.new("RGB", (8 * across * num_mcus, 8 * down))
    header = bytearray(encoded(picture, "JPEG"))
    header[header.index(b"\xff\xc0") + 11] = across << 4 | down
    start = header.index(b"\xff\xda") + 14

    levels = np.random.default_rng(across).integers(0, 2, (num_mcus, across * down + 2))
    bits = ""
    for mcu in levels:
        bits += "".join(f"101{level}111" + "1010" for level in mcu[:-2])  # 15 or -8 more, no AC
        bits += "".join(f"10{level}1" + "00" for level in mcu[-2:])
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return bytes(header[:start]) + coded + b"\xff\xd9"


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (3, 1), (4, 2), (1, 4)])
def test_a_jpeg_of_any_color_sampling_is_read(across: int, down: int) -> None:
    content = of_sampling(across, down)
    found = decode(content, Path("x"), 3).permute(1, 2, 0).numpy()
    assert len(np.unique(found)) > 3
    np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize(("across", "down"), [(2, 1), (3, 1), (4, 2)])
def test_a_jpeg_of_any_color_sampling_is_refused_when_codes_are_missing(
    across: int, down: int
) -> None:
    content = of_sampling(across, down)
    with pytest.raises(BadImage, match=r"end too early|premature"):
        decode(content[:-6] + content[-2:], Path("x"), 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [50, 95, 100])
def test_the_encoder_writes_the_bytes_that_it_always_wrote(mode: str, quality: int) -> None:
    """torchvision's operator made the JPEGs of earlier Stores."""
    import torchvision.io  # noqa: F401 - registers the operator

    array = np.atleast_3d(np.asarray(DETAILED.convert(mode)))
    image = torch.from_numpy(array.copy()).permute(2, 0, 1)
    earlier = torch.ops.image.encode_jpeg(image.contiguous(), quality)
    assert jpeg.encode_jpeg(image, quality) == earlier.numpy().tobytes()


def test_random_damage_never_escapes_as_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path, num_bad = tmp_path / "picture", 0
    for trial in range(400):
        raw = bytearray((JPEG, PNG, encoded(PICTURE, "TIFF"))[trial % 3])
        for place in random.integers(0, len(raw), random.integers(1, 6)):
            raw[place] = random.integers(0, 256)
        path.write_bytes(raw[: random.integers(1, len(raw) + 1)] if trial % 2 else raw)
        try:
            assert read_image(path, 3).dtype == torch.uint8
        except BadImage:
            num_bad += 1
    assert num_bad > 100


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 30},
        {"subsampling": 0},
        {"subsampling": 1},
        {"optimize": True},
        {"restart_marker_blocks": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_whole_picture_ends_where_it_should(options: dict[str, int], mode: str) -> None:
    content = encoded(DETAILED.convert(mode), "JPEG", **options)
    assert has_legal_codes(content)
    assert has_legal_codes(with_end(content, b"more"))
    assert not has_legal_codes(content[:-40] + content[-2:])


def test_most_small_damage_inside_a_jpeg_is_noticed() -> None:
    """Pieces of 4 to 200 bytes in a picture of sharp edges; docs/data.md has other pictures."""
    random, num_noticed, num_files = np.random.default_rng(0), 0, 400
    first = FINE.index(b"\xff\xda") + 14
    for trial in range(num_files):
        num_bytes = int(random.integers(4, 200))
        place = int(random.integers(first, len(FINE) - 2 - num_bytes))
        scrambled = random.integers(0, 255, num_bytes, dtype=np.uint8).tobytes()
        piece = bytes(num_bytes) if trial % 2 else scrambled
        try:
            decode(FINE[:place] + piece + FINE[place + num_bytes :], Path("x"), 3)
        except BadImage:
            num_noticed += 1
    assert num_noticed >= 0.9 * num_files


def test_a_forged_header_of_codes_ends_in_a_judgement() -> None:
    random = np.random.default_rng(3)
    start, end = FINE.index(b"\xff\xdb"), FINE.index(b"\xff\xda") + 14
    for _ in range(150):
        raw = bytearray(with_end(FINE, b"more"))
        for place in random.integers(start, end, random.integers(1, 9)):
            raw[place] = random.integers(0, 256)
        assert has_legal_codes(bytes(raw)) in (True, False, None)


def test_codes_of_other_kinds_are_not_judged() -> None:
    assert has_legal_codes(FINE_PROGRESSIVE) is None
    assert has_legal_codes(FINE[:100]) is None


def test_gray_can_be_asked_for() -> None:
    found = decode(PNG, Path("x"), 1)
    assert found.shape == (1, 48, 60)
    assert np.abs(found[0].numpy().astype(int) - GRAY).max() <= 1
