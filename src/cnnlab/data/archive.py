"""Unpack a downloaded tar archive: nothing outside its folder, within limits of size."""

import shutil
import tarfile
import zlib
from pathlib import Path

from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

MOST_MEMBERS = 10_000
MOST_BYTES = 1 << 30
MOST_RATIO = 100


def unpack(archive: Path, folder: Path) -> None:
    """Put the archive's files into `folder`: all of them, or none and a DataError.

    Refused: members that point outside (names, links), devices, more than MOST_MEMBERS members,
    more than MOST_BYTES in all or MOST_RATIO times the archive, and damaged archives.
    """
    staging = folder / f".{archive.name}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        _extract(archive, staging)

        for item in sorted(staging.iterdir()):
            target = folder / item.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            item.replace(target)

    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"cannot unpack: {error}",
            escape_control(str(archive.absolute())),
            "remove the file and download it again",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _extract(archive: Path, staging: Path) -> None:
    room = min(MOST_BYTES, MOST_RATIO * archive.stat().st_size)
    num_members = 0

    with tarfile.open(archive) as tar:
        for member in tar:  # one at a time: a list of a million members would fill the memory
            num_members += 1
            room -= member.size
            if num_members > MOST_MEMBERS or room < 0:
                raise ValueError("more members or bytes than a data set of this kind has")
            if member.name.startswith("/"):
                raise ValueError(f"{member.name!r} is an absolute path")
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"{member.name!r} is neither a file nor a folder")
            tar.extract(member, staging, filter="data")
