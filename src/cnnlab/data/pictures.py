"""Pictures that belong to no set: files and folders named by a person."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from cnnlab.data.decode import BadImage, read_image
from cnnlab.data.entries import IMAGE_ENDINGS, LeftOut, Walk, check_openable
from cnnlab.errors import DataError
from cnnlab.printable import printable

Picture = tuple[Path, Tensor | BadImage]
"""A file and its pixels uint8 [C,H,W], or why it has none."""


def picture_files(given: Sequence[str]) -> tuple[list[Path], LeftOut]:
    """Return the files named, and for each folder named the images in and below it, sorted.

    Folders are listed by the rules of training; what was left out of them is returned too. A file
    named by itself is taken whatever its ending. Raises DataError for a path that does not exist
    and for a folder without images.
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
            raise DataError("there is no such picture", printable(where))
    return files, left_out


def _images_below(folder: Path) -> tuple[list[Path], LeftOut]:
    walk = Walk(folder)
    found = [folder / name for name in walk.images_below("")]
    if not found:
        endings = ", ".join(sorted(IMAGE_ENDINGS))
        raise DataError(
            "no pictures in this folder",
            walk.left_out.after(printable(str(folder))),
            f"endings: {endings}",
        )
    return found, walk.left_out


def read_pictures(files: Sequence[Path], channels: int) -> list[Picture]:
    """Read each file as uint8 [channels,H,W]; one that cannot be read does not stop the others."""
    return [(path, _read(path, channels)) for path in files]


def _read(path: Path, channels: int) -> Tensor | BadImage:
    try:
        return read_image(path, channels)
    except BadImage as bad:
        return bad
