"""A digest of image files by their content: it tells one state of a folder from another."""

import hashlib
import os
import stat
from pathlib import Path

from cnnlab.data.listing import Listing
from cnnlab.data.workers import Workers

WHOLE_BYTES = 4 << 30
"""Files of up to this total size are read in full, a few seconds; of larger sets, samples."""

SAMPLE_BYTES = 4096
_UNREADABLE = "-"


def digest_of_files(listing: Listing, workers: Workers, whole_bytes: int = WHOLE_BYTES) -> str:
    """Return the SHA-256 over class names and each file's name, label, size and content.

    Above whole_bytes in total, only the start, the middle and the end of a file count, so a
    change elsewhere that keeps its size is not seen.
    """
    sizes = [_size(listing.path(index)) for index in range(len(listing.paths))]
    is_whole = sum(sizes) <= whole_bytes

    def read_part(places: range) -> list[tuple[int, str]]:
        return [(p, _content(listing.path(p), sizes[p], is_whole=is_whole)) for p in places]

    state = hashlib.sha256(os.fsencode("\0".join(listing.class_names)))
    contents = workers.run(read_part, len(sizes))
    for (place, content), label in zip(contents, listing.labels.tolist(), strict=True):
        state.update(f"{label} {sizes[place]} {content} ".encode())
        state.update(os.fsencode(listing.paths[place]) + b"\0")
    return state.hexdigest()


def _size(path: Path) -> int:
    """Return the size of a file; 0 for anything that is not a file, which is never opened."""
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _content(path: Path, size: int, *, is_whole: bool) -> str:
    if size == 0:
        return _UNREADABLE
    try:
        with path.open("rb") as file:
            if is_whole or size <= 3 * SAMPLE_BYTES:
                return hashlib.file_digest(file, "sha256").hexdigest()

            state = hashlib.sha256()
            for start in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES):
                file.seek(start)
                state.update(file.read(SAMPLE_BYTES))
            return state.hexdigest()
    except OSError:
        return _UNREADABLE
