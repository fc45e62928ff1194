"""Tell which folders of a root are splits and which are classes; an ambiguous one is refused."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.data.entries import Contents, LeftOut, Reason, contains_images, read_folder
from cnnlab.data.listing import first_names
from cnnlab.errors import DataError
from cnnlab.safe_output import escape_control

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Usual names of the folder of a split, in lower case."""

_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


@dataclass(frozen=True)
class Layout:
    """How a root is read. splits: split -> its folder; empty where the root has the classes.

    left_out: entries that belong to no split. note: what the user may have meant instead.
    """

    splits: dict[str, Path] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    note: str = ""


def read_layout(root: Path) -> Layout:
    """Tell splits from classes by the content of the folders, then by their names.

    A split has class folders. A folder of images next to other class folders is a class, whatever
    its name: `train` is a class of CIFAR-100. Raises DataError for a folder that is neither and
    for one that could be both.
    """
    top = read_folder(root)
    named = {name: read_folder(root / name) for name in top.all_folders if split_of(name)}
    others = [name for name in top.all_folders if name not in named]
    if not named:
        return Layout(note=_look_deeper(root, others))

    others_with_images = [name for name in others if contains_images(root / name)]
    if others_with_images:
        if all(contents.images and not contents.all_folders for contents in named.values()):
            return Layout(note=f"read as classes, not as splits: {first_names(list(named))}")
        if not _share_classes(named):
            raise _ambiguous(root, list(named), others_with_images)

    splits = _as_splits(root, named)
    beside, loose = LeftOut.each(Reason.UNRELATED, others), LeftOut.each(Reason.LOOSE, top.images)
    return Layout(splits, top.left_out + beside + loose, _one_for_two(splits))


def _look_deeper(root: Path, folders: list[str]) -> str:
    """Return a note where dataset.root may be one folder too high, or nothing.

    Only the first folder is read. Raises DataError where the splits are inside it.
    """
    if not folders:
        return ""

    inner, is_only = read_folder(root / folders[0]), len(folders) == 1
    splits = [name for name in inner.all_folders if split_of(name)]
    if {split_of(name) for name in splits} > {"train"}:
        deeper = f"dataset.root={root / folders[0]}"
        raise DataError(
            f"the split folders {_folders(splits)} are inside {_folders(folders[:1])}",
            escape_control(str(root.absolute())),
            escape_control(deeper) if is_only else "expected them around the classes: train/CLASS/",
        )
    in_folders = is_only and inner.all_folders and not inner.images
    return f"one class, {_folders(folders)}, with its images in folders" if in_folders else ""


def _one_for_two(splits: dict[str, Path]) -> str:
    """Return a note for splits that are the same folder through a link, or nothing."""
    names: dict[str, list[str]] = {}
    for folder in splits.values():
        names.setdefault(os.path.realpath(folder), []).append(folder.name)
    return "; ".join(
        f"the same folder: {_folders(same)}" for same in names.values() if len(same) > 1
    )


def split_of(name: str) -> str | None:
    """Return the split that a folder is named for, in any case of letters, or None."""
    return _SPLIT_OF.get(name.lower())


def _as_splits(root: Path, named: dict[str, Contents]) -> dict[str, Path]:
    """Return split -> folder. Raises DataError for folders that cannot be splits."""
    where = escape_control(str(root.absolute()))
    if flat := [
        name for name, contents in named.items() if contents.images and not contents.all_folders
    ]:
        raise DataError(
            f"images, but no class folders, in {_folders(flat)}",
            where,
            f"if it is a split, sort the images into {escape_control(flat[0])}/CLASS/; "
            "if it is a class, move all classes into a folder train/; "
            "else move it out of dataset.root",
        )

    by_split: dict[str, list[str]] = {}
    for name in named:
        by_split.setdefault(split_of(name) or "", []).append(name)
    for split, names in by_split.items():
        if len(names) > 1:
            raise DataError(
                f"{len(names)} folders for the {split} split: {_folders(names)}",
                where,
                "keep one of them; move the other out of dataset.root, or merge them",
            )
    if "train" not in by_split:
        raise DataError(
            f"the folder train/ is missing; found only {_folders(list(named))}",
            where,
            "expected train/CLASS/picture.jpg beside it",
        )
    return {split: root / names[0] for split, names in by_split.items()}


def _share_classes(named: dict[str, Contents]) -> bool:
    """Return whether training and another split have class folders of the same names, no images.

    Then they are splits, whatever else is next to them.
    """
    if any(contents.images for contents in named.values()):
        return False
    classes = {split_of(name): set(contents.all_folders) for name, contents in named.items()}
    train = classes.pop("train", set())
    return any(train & other for other in classes.values())


def _ambiguous(root: Path, named: list[str], others: list[str]) -> DataError:
    return DataError(
        f"{_folders(named)} could be a split or a class: images are also in {_folders(others)}",
        escape_control(str(root.absolute())),
        f"if splits: move {_folders(others)} out of dataset.root (into train/ if it is a class);"
        " if classes: move all folders into a folder train/",
    )


def _folders(names: list[str]) -> str:
    """Return 'a/, b/'."""
    return first_names([f"{name}/" for name in names])
