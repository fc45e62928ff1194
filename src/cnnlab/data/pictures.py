"""Pictures that belong to no data set: files and folders named by the user."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from cnnlab.data.decode import BadImage, read_image
from cnnlab.data.entries import IMAGE_EXTENSIONS, LeftOut, Walk, check_openable
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

Picture = tuple[Path, Tensor | BadImage]
"""A file and its pixels uint8 [C,H,W], or why it has none."""


def picture_files(given: Sequence[str]) -> tuple[list[Path], LeftOut]:
    """Return the files named, and for each folder named the images in and below it, sorted.

    Folders are listed as for training; the entries left out of them are returned too. A file named
    by itself is used with any extension. Raises DataError for a path that does not exist and for
    a folder without images.
    """
    files: list[Path] = []
    left_out = LeftOut()
    for where in given:
        path = Path(where)
        check_openable(path)

        if path.is_dir():
            found, skipped = _images_below(path)
            files += found
            left_out += skipped
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise DataError("there is no such image file", escape_control(where))
    return files, left_out


def _images_below(folder: Path) -> tuple[list[Path], LeftOut]:
    walk = Walk(folder)
    found = [folder / name for name in walk.images_below("")]
    if not found:
        extensions = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(
            "no image files in this folder",
            walk.left_out.after(escape_control(str(folder))),
            f"image files have one of these extensions: {extensions}",
        )
    return found, walk.left_out


def read_pictures(files: Sequence[Path], channels: int) -> list[Picture]:
    """Read each file as uint8 [channels,H,W], or keep the reason why it cannot be read."""
    return [(path, _read(path, channels)) for path in files]


def _read(path: Path, channels: int) -> Tensor | BadImage:
    try:
        return read_image(path, channels)
    except BadImage as bad:
        return bad
