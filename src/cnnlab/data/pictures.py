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
    """Return the files named, and of each folder named the images in and below it, sorted.

    Folders are listed by the rules of training; what was left out of them is returned too. A file
    named by itself is taken whatever its ending. Raises DataError for a path that does not exist
    and for a folder without images.
    """
    files: list[Path] = []
    left_out = LeftOut()
    for where in given:
        path = Path(where)
        check_openable(path)
        if not path.is_dir():
            if not path.exists() and not path.is_symlink():
                raise DataError("there is no such picture", printable(where))
            files.append(path)
            continue
        found = Walk(path, left_out).images_below("")
        if not found:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            raise DataError(
                "no pictures in this folder",
                left_out.after(printable(where)),
                f"endings: {endings}",
            )
        files += [path / name for name in found]
    return files, left_out


def read_pictures(files: Sequence[Path], channels: int) -> list[Picture]:
    """Read each file as uint8 [channels,H,W]; one that cannot be read does not stop the others."""
    return [(path, _read(path, channels)) for path in files]


def _read(path: Path, channels: int) -> Tensor | BadImage:
    try:
        return read_image(path, channels)
    except BadImage as bad:
        return bad
