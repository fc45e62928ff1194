"""Which files belong to a split and what their labels are; labels always go by class name."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.printable import printable

IMAGE_ENDINGS = {
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
    ".pbm",
}
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a split, relative to `root`, in a fixed order.

    labels: int64 [N]. groups: int64 [N] or None; images of one group (a track of frames) show the
    same thing and stay together in a split. num_ignored: files that are no images by their ending.
    """

    root: Path
    paths: list[str]
    labels: Tensor
    class_names: tuple[str, ...]
    groups: Tensor | None = None
    num_ignored: int = 0

    def path(self, index: int) -> Path:
        """Return the whole path of one file."""
        return self.root / self.paths[index]

    def missing(self) -> list[str]:
        """Return the classes without images."""
        counts = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return [name for name, num in zip(self.class_names, counts, strict=True) if num == 0]

    def digest(self) -> str:
        """Return the SHA-256 over class names and each file's name, label and size."""
        state = hashlib.sha256("\0".join(self.class_names).encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            line = f"{label} {size_of(self.root / path)} ".encode() + os.fsencode(path) + b"\0"
            state.update(line)
        return state.hexdigest()


def size_of(path: Path) -> int:
    """Return a file's bytes, or -1 where there is no such file (a dangling link)."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def list_classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the folders in `folder`, sorted as text. Raises DataError for none."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"cannot list the folder: {error.strerror}", printable(str(folder.absolute()))
        ) from error
    if not names:
        raise DataError(
            "no class folders",
            printable(str(folder.absolute())),
            "expected one folder a class: CLASS_NAME/picture.jpg",
        )
    return tuple(sorted(names))


def list_class_folders(
    folder: Path, class_names: Sequence[str] | None = None, *, all_present: bool = True
) -> Listing:
    """Return the images of folder/CLASS/..., sorted by class, then by name, subfolders included.

    class_names: the training classes in their order; labels follow them by name whatever the
    folders here are. Raises DataError for a class that training does not know, and for a class
    without images; a class that is absent here is an error only with all_present.
    """
    found = list_classes(folder)
    names = tuple(class_names) if class_names is not None else found
    if unknown := [name for name in found if name not in set(names)]:
        raise DataError(
            f"{len(unknown)} classes that the training images do not have: {some(unknown)}",
            printable(str(folder.absolute())),
        )
    paths: list[str] = []
    labels: list[int] = []
    empty, num_ignored = [], 0
    for label, name in enumerate(names):
        files, ignored = _walk(folder, name)
        num_ignored += ignored
        if not files and (all_present or name in found):
            empty.append(name)
        paths += files
        labels += [label] * len(files)
    if empty:
        raise DataError(
            f"{len(empty)} classes without images: {some(empty)}",
            printable(str(folder.absolute())),
            "every class needs at least one image; remove the folder if the class is not wanted",
        )
    return Listing(folder, paths, torch.tensor(labels), names, num_ignored=num_ignored)


def _walk(root: Path, name: str) -> tuple[list[str], int]:
    """Return the images under root/name, relative to root and sorted, and how many other files."""
    files, num_ignored = [], 0
    for folder, subfolders, names in os.walk(root / name):
        subfolders.sort()
        entries = names + [s for s in subfolders if _is_image(s)]  # a folder called a.jpg is told
        for entry in entries:
            if _is_image(entry):
                files.append(os.path.relpath(os.path.join(folder, entry), root))
            elif not entry.startswith("."):
                num_ignored += 1
    return sorted(files), num_ignored


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
