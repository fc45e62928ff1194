"""Download a public file once: to a temporary name, checked by its published MD5, renamed."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.errors import DataError
from cnnlab.files import atomic

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Remote:
    """A file's name, the URLs of the folders that serve it, and its published MD5."""

    name: str
    folders: tuple[str, ...]
    md5: str


def fetch(remotes: Sequence[Remote], root: str | None, set_name: str) -> Path:
    """Download all files into `root` (default data/<set>) and return that folder.

    Files that are there with the right MD5 are kept. Raises DataError where no server gives a
    file, and UnwritableError where the disk takes no more.
    """
    folder = Path(root or Path("data") / set_name)
    folder.mkdir(parents=True, exist_ok=True)
    for remote in remotes:
        target = folder / remote.name
        if not (target.is_file() and _md5(target) == remote.md5):
            _fetch_one(remote, target)
    return folder


def _fetch_one(remote: Remote, target: Path) -> None:
    failures = []
    for folder in remote.folders:
        temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            _download(folder + remote.name, temporary)

            # a proxy's error page or a cut transfer would go unnoticed without the MD5
            if (found := _md5(temporary)) == remote.md5:
                temporary.replace(target)
                return
            failures.append(f"{folder}{remote.name}: MD5 {found}, published {remote.md5}")

        except (urllib.error.URLError, OSError) as error:
            failures.append(f"{folder}{remote.name}: {error}")
        finally:
            temporary.unlink(missing_ok=True)
    raise DataError(
        f"cannot download {remote.name}",
        "; ".join(failures),
        "download it by hand into dataset.root",
    )


def _download(url: str, path: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "cnnlab"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        while chunk := answer.read(_CHUNK_BYTES):
            _append(path, chunk)


def _append(path: Path, chunk: bytes) -> None:
    """Write on. A disk that takes no more is no fault of the server that is asked next."""
    try:
        with path.open("ab") as file:
            file.write(chunk)
    except OSError as error:
        raise atomic.unwritable(path, error) from error


def _md5(path: Path) -> str:
    state = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()
