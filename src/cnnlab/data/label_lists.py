"""Lists that label files: read as text and joined with the files by name, never by position."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cnnlab.data.listing import first_names
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

Label = TypeVar("Label")


def read_list(path: Path) -> str:
    """Return the text of a list, with or without a byte order mark. Raises DataError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"cannot read the list: {reason}", escape_control(str(path))) from error


def by_name(rows: Iterable[tuple[str, Label]], path: Path) -> dict[str, Label]:
    """Return name -> label of the rows. Raises DataError for a name with two labels."""
    labels: dict[str, Label] = {}
    conflicts = []
    for name, label in rows:
        if labels.setdefault(name, label) != label:
            conflicts.append(name)

    if conflicts:
        raise DataError(
            f"{len(conflicts)} names are listed twice, with different labels:"
            f" {first_names(conflicts)}",
            escape_control(str(path)),
            "keep the row with the right label",
        )
    return labels


def join(
    files: Sequence[str],
    labels: Mapping[str, Label],
    path: Path,
    key: Callable[[str], str] = str,
) -> list[Label]:
    """Return the label of each file: the row of the list `path` that has the file's name.

    key: a file's name -> its name in the list. Raises DataError unless files and rows are the
    same names, each once: a file without a row, a row without a file, two files of one row.
    """
    keys = [key(name) for name in files]
    known, present = set(labels), set(keys)
    problems = [
        ("files have no row", [n for n, k in zip(files, keys, strict=True) if k not in known]),
        ("rows have no file", sorted(known - present)),
        ("files share a row with another", _repeated(files, keys)),
    ]

    found = [f"{len(names)} {what}: {first_names(names)}" for what, names in problems if names]
    if found or not files:
        raise DataError(
            "; ".join(found) or "the folder has no images",
            escape_control(str(path)),
            "the folder and its list must have the same names, each once",
        )
    return [labels[k] for k in keys]


def _repeated(files: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return the files whose key an earlier file has too."""
    seen: set[str] = set()
    repeated = []
    for name, key in zip(files, keys, strict=True):
        if key in seen:
            repeated.append(name)
        seen.add(key)
    return repeated
