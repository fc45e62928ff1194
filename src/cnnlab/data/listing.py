"""List the files of a split with their labels; labels always follow the class names."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.config.checks import is_unicode
from cnnlab.data.entries import Contents, LeftOut, Reason, Walk, read_folder
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a split, relative to `root`, in a fixed order.

    labels: int64 [N]. groups: int64 [N] or None; images of one group (frames of a track) show the
    same object and stay in one split. left_out: the other entries of `root`.
    """

    root: Path
    paths: list[str]
    labels: Tensor
    class_names: tuple[str, ...]
    groups: Tensor | None = None
    left_out: LeftOut = field(default_factory=LeftOut)

    def path(self, index: int) -> Path:
        """Return the path of one file."""
        return self.root / self.paths[index]

    def missing(self) -> list[str]:
        """Return the classes without images."""
        counts = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return [name for name, num in zip(self.class_names, counts, strict=True) if num == 0]

    def note(self) -> str:
        """Return what the user should know: what was left out, which classes have no images."""
        missing = self.missing()
        lacks = f"no images of {len(missing)} of the training classes: {first_names(missing)}"
        return join_notes(str(self.left_out), lacks if missing else "")

    def digest(self) -> str:
        """Return the SHA-256 over class names and each file's name, label and size."""
        state = hashlib.sha256("\0".join(self.class_names).encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            line = f"{label} {size_of(self.root / path)} ".encode() + os.fsencode(path) + b"\0"
            state.update(line)
        return state.hexdigest()


def size_of(path: Path) -> int:
    """Return the size of a file, or -1 where there is none (a broken link)."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def list_class_folders(
    folder: Path, class_names: Sequence[str] | None = None, *, all_present: bool = True
) -> Listing:
    """Return the images of folder/CLASS/..., sorted by class, then by name, subfolders included.

    class_names: the training classes in their order; labels follow them by name whatever folders
    are here. Raises DataError for a class that training does not have, and for a class without
    images; a class that is absent here is an error only with all_present.
    """
    contents = read_folder(folder)
    found = _class_folders(folder, contents)
    names = found if class_names is None else tuple(class_names)

    known, present = set(names), set(found)
    if unknown := [name for name in found if name not in known]:
        raise DataError(
            f"{len(unknown)} classes that the training images do not have: {first_names(unknown)}",
            escape_control(str(folder.absolute())),
            "name the class folders like those of training, or remove them",
        )

    walk = Walk(folder)
    paths: list[str] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(names):
        files = walk.images_below(name) if name in present else []
        if not files and (all_present or name in present):
            empty.append(name)
        paths += files
        labels += [label] * len(files)

    left_out = contents.left_out + LeftOut.each(Reason.LOOSE, contents.images) + walk.left_out
    if empty:
        raise DataError(
            f"{len(empty)} classes without images: {first_names(empty)}",
            left_out.after(escape_control(str(folder.absolute()))),
            "every class needs at least one image; remove the folder if the class is not wanted",
        )
    return Listing(folder, paths, torch.tensor(labels), names, left_out=left_out)


def list_flat(folder: Path) -> tuple[list[str], LeftOut]:
    """Return the names of the images in one folder, sorted, and the other entries."""
    contents = read_folder(folder)
    return contents.images, contents.left_out + LeftOut.each(Reason.UNRELATED, contents.all_folders)


def _class_folders(folder: Path, contents: Contents) -> tuple[str, ...]:
    """Return the names of the class folders.

    Raises DataError for none, for a name that is not UTF-8, and for a broken link, which may be a
    whole class.
    """
    where = escape_control(str(folder.absolute()))
    if Reason.DANGLING in contents.left_out.first:
        link = escape_control(contents.left_out.first[Reason.DANGLING])
        raise DataError(f"a broken link among the classes: {link}", where, "repair or remove it")

    names = contents.all_folders
    if not names:
        raise DataError(
            "no class folders", where, "expected one folder per class: CLASS_NAME/picture.jpg"
        )
    if foreign := [name for name in names if not is_unicode(name)]:
        raise DataError(
            f"{len(foreign)} class folders whose names are not UTF-8: {first_names(foreign)}",
            where,
            "rename them; convmv does it for a whole tree",
        )
    return tuple(names)


def join_notes(*parts: str) -> str:
    """Join the parts of a split's note, without the empty ones."""
    return "; ".join(part for part in parts if part)


def first_names(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(escape_control(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
