"""List a folder: an entry is an image, a folder, or left out and counted by its reason."""

import errno
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cnnlab.data.decode import SHORTAGES
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

IMAGE_EXTENSIONS = {
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
SYSTEM_NAMES = {"__macosx", "@eadir", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini"}
"""Hidden files and folders of operating systems that have no leading dot, in lower case."""


class Reason(Enum):
    """Why an entry is left out: the words for one and for several."""

    HIDDEN = ("hidden", "hidden")
    IN_HIDDEN = ("in a hidden folder", "in hidden folders")
    EXTENSION = ("file without an image extension", "files without an image extension")
    LOOSE = ("image outside the class folders", "images outside the class folders")
    UNRELATED = ("unrelated folder", "unrelated folders")
    EMPTY = ("empty folder", "empty folders")
    LOOP = ("link to a parent folder", "links to parent folders")
    SEEN = ("link to a folder already listed", "links to folders already listed")
    DANGLING = ("broken link", "broken links")


class LeftOut:
    """Entries that are not used: how many for each reason, and the first of them.

    Made of (reason, path, number of entries); a path is relative to the folder that is listed.
    """

    def __init__(self, entries: Iterable[tuple[Reason, str, int]] = ()) -> None:
        self.counts: Counter[Reason] = Counter()
        self.first: dict[Reason, str] = {}
        for reason, path, number in entries:
            self.counts[reason] += number
            self.first.setdefault(reason, path)

    @classmethod
    def each(cls, reason: Reason, paths: Iterable[str]) -> "LeftOut":
        """Return these entries, all for one reason."""
        return cls((reason, path, 1) for path in paths)

    def __add__(self, other: "LeftOut") -> "LeftOut":
        return LeftOut(
            (reason, part.first[reason], number)
            for part in (self, other)
            for reason, number in part.counts.items()
        )

    def __str__(self) -> str:
        """Return 'left out: 1 hidden (a/.b.jpg), 2 empty folders (a/new, ...)', or nothing."""
        parts = []
        for reason in Reason:
            if number := self.counts[reason]:
                words, more = reason.value[number > 1], ", ..." if number > 1 else ""
                parts.append(f"{number:,} {words} ({escape_control(self.first[reason])}{more})")
        return f"left out: {', '.join(parts)}" if parts else ""

    def after(self, where: str) -> str:
        """Return `where`, followed by the text: it may explain why a folder seems empty."""
        return f"{where}; {self}" if self.counts else where


@dataclass(frozen=True, eq=False)
class Contents:
    """The names in one folder that count, each list sorted; links: linked folders.

    num_entries: of the folder, those that are left out included.
    """

    num_entries: int
    folders: list[str]
    links: list[str]
    images: list[str]
    left_out: LeftOut

    @property
    def all_folders(self) -> list[str]:
        """The folders and the linked folders, sorted."""
        return sorted(self.folders + self.links)


def read_folder(folder: str | Path, shown: str = "") -> Contents:
    """Sort the entries of one folder into folders, images, and entries left out.

    shown: the folder's name in `left_out`. A file with the extension of an image counts as one;
    whether it is one shows when it is read. Raises DataError for a folder that cannot be listed.
    """
    entries = _scan(folder)
    folders: list[str] = []
    links: list[str] = []
    images: list[str] = []
    left_out: list[tuple[Reason, str, int]] = []

    for entry in entries:
        where = os.path.join(shown, entry.name)
        if _is_hidden(entry.name):
            left_out.append(_hidden(entry, where))
        elif _is_folder(entry):
            (links if entry.is_symlink() else folders).append(entry.name)
        elif has_image_extension(entry.name):
            images.append(entry.name)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            left_out.append((Reason.DANGLING, where, 1))
        else:
            left_out.append((Reason.EXTENSION, where, 1))
    return Contents(len(entries), folders, links, images, LeftOut(left_out))


def contains_images(folder: Path) -> bool:
    """Return whether a folder or one below it holds an image; links are not followed."""
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        contents = read_folder(here)
        if contents.images:
            return True
        waiting += [os.path.join(here, name) for name in contents.folders]
    return False


def check_openable(path: str | Path) -> None:
    """Raise DataError for a path that the system refuses; one that does not exist passes.

    No permission for a parent folder, too long a name, a loop of links: `is_dir` would raise or
    return False.
    """
    try:
        os.stat(os.path.join(path, "."))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _not_opened(path, error) from error


def has_image_extension(name: str) -> bool:
    """Return whether a file name has the extension of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


class Walk:
    """The images below the folders of a root. Links are followed, and no folder is listed twice.

    A linked folder that leads back above itself, or to a folder that the same part has already,
    is left out and counted in `left_out`. A folder that two parts share is refused: its images
    would have two labels.
    """

    def __init__(self, root: Path) -> None:
        self.left_out = LeftOut()
        self._root, self._real_root = str(root), os.path.realpath(root)
        self._seen: dict[str, tuple[str, str]] = {}

    def images_below(self, part: str) -> list[str]:
        """Return the images in and below root/part, relative to the root, sorted as text.

        part: a folder's name; "" for the whole root. Raises DataError.
        """
        found: list[str] = []
        top = os.path.join(self._root, part)
        folders, links = ([], [part]) if os.path.islink(top) else ([part], [])
        real_of = {part: os.path.join(self._real_root, part).rstrip(os.sep) or os.sep}

        while folders or links:  # real folders first: a link to one of them is the second way
            is_link = not folders
            here = (links if is_link else folders).pop()
            real = self._follow(here) if is_link else real_of.pop(here)
            if real is None or not self._enter(part, here, real):
                continue

            contents = read_folder(os.path.join(self._root, here), here)
            self.left_out += contents.left_out
            if contents.num_entries == 0 and here != part:
                self._leave_out(Reason.EMPTY, here)
            found += [os.path.join(here, name) for name in contents.images]
            links += [os.path.join(here, name) for name in contents.links]

            for name in contents.folders:
                below = os.path.join(here, name)
                if has_image_extension(name):  # reported as a folder when it is read
                    found.append(below)
                else:
                    folders.append(below)
                    real_of[below] = os.path.join(real, name)
        return sorted(found)

    def _leave_out(self, reason: Reason, path: str) -> None:
        self.left_out += LeftOut.each(reason, [path])

    def _follow(self, link: str) -> str | None:
        """Return where a linked folder really is; None where it leads back above itself."""
        path = os.path.join(self._root, link)
        real, above = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
        if _is_within(above, real) or _is_within(self._real_root, real):
            self._leave_out(Reason.LOOP, link)
            return None
        return real

    def _enter(self, part: str, here: str, real: str) -> bool:
        """Return whether a folder is reached for the first time."""
        earlier_part, earlier = self._seen.setdefault(real, (part, here))
        if earlier == here:
            return True
        if earlier_part != part:
            raise DataError(
                "one folder belongs to two classes: "
                f"{escape_control(earlier)}, {escape_control(here)}",
                escape_control(real),
                "its images would have two labels; remove one of the links",
            )
        self._leave_out(Reason.SEEN, here)
        return False


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return the entries sorted by name, so that nothing depends on the order of the disk."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise  # out of memory or file handles: not the folder's fault
        raise _not_opened(folder, error) from error


def _not_opened(folder: str | Path, error: OSError) -> DataError:
    too_long = error.errno == errno.ENAMETOOLONG
    return DataError(
        f"cannot open the folder: {error.strerror}",
        escape_control(os.path.abspath(folder)),
        "use a shorter path" if too_long else "make it readable, or move it out of the set",
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _hidden(entry: os.DirEntry[str], where: str) -> tuple[Reason, str, int]:
    """Return how a hidden file counts, or the files in and below a hidden folder."""
    num_files = 0
    if _is_folder(entry) and not entry.is_symlink():
        num_files = sum(len(files) for _, _, files in os.walk(entry.path))
    if num_files:
        return Reason.IN_HIDDEN, where, num_files
    return Reason.HIDDEN, where, 1


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
