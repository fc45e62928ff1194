"""Files that hold no usable image: all of them named at once, or left out and recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnlab.data.listing import join_notes
from cnnlab.data.store import Bad, Splits, Store, SubsetStore, all_indices
from cnnlab.errors import BadFilesError, DataError
from cnnlab.safe_output import escape_control

MOST_DECODED = 50_000
"""Files that are decoded at most to name all bad ones, after one of them ended a command."""

SHOWN = 10
_AT_ONCE = 64


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be read: its index in the split, its path, and why."""

    index: int
    path: str
    reason: str


def listed(bad: Sequence[BadFile], num_shown: int = SHOWN) -> str:
    """Return the first paths with their reasons, and how many more there are."""
    shown = "; ".join(escape_control(f"{file.path}: {file.reason}") for file in bad[:num_shown])
    more = len(bad) - num_shown
    return shown + (f"; and {more} more" if more > 0 else "")


def bad_among(store: Store, indices: Tensor, bad: Sequence[Bad]) -> list[BadFile]:
    """Return the bad files that `store.read_good(indices)` found."""
    at = [(int(indices[place]), error) for place, error in bad]
    return [BadFile(index, store.name_of(index), error.reason) for index, error in at]


def find_bad(store: Store, most_decoded: int | None = None) -> list[BadFile]:
    """Decode every image, or the first `most_decoded`, and return those that cannot be read."""
    found: list[BadFile] = []
    for indices in all_indices(store)[:most_decoded].split(_AT_ONCE):
        _, bad = store.read_good(indices)
        found += bad_among(store, indices, bad)
    return found


def bad_files(store: Store, known: Sequence[BadFile]) -> BadFilesError:
    """Return the error that names all bad files of a split; known: those found so far."""
    by_index = {file.index: file for file in [*find_bad(store, MOST_DECODED), *known]}
    bad = [by_index[index] for index in sorted(by_index)]
    least = "" if len(store) <= MOST_DECODED else "at least "
    return BadFilesError(
        f"{least}{len(bad)} of {len(store)} {store.split} files hold no usable image",
        listed(bad),
        "repair or remove them, or leave them out: dataset.on_bad=skip",
    )


def leave_out(splits: Splits) -> Splits:
    """Return the splits without the files that cannot be read; decodes every image once.

    Raises DataError where a split, or a class of the training images, has no image left.
    """
    stores = {name: _without_bad(store) for name, store in splits.stores().items()}
    return replace(splits, **stores)


def good_images(store: Store, bad: Sequence[BadFile]) -> Tensor:
    """Return bool [n]: which images are not bad.

    Raises DataError where the split, or a class of the training images, has no image left.
    """
    is_good = torch.ones(len(store), dtype=torch.bool)
    is_good[[file.index for file in bad]] = False

    if bad and not is_good.any():
        raise DataError(f"no {store.split} file holds a usable image", listed(bad))
    if store.split == "train":
        _refuse_empty_classes(store, is_good)
    return is_good


def _refuse_empty_classes(train: Store, is_good: Tensor) -> None:
    names = train.class_names
    before, kept = (
        torch.bincount(labels, minlength=len(names))
        for labels in (train.labels, train.labels[is_good])
    )
    empty = [names[label] for label in ((kept == 0) & (before > 0)).nonzero()[:, 0]]
    if not empty:
        return

    shown = ", ".join(empty[:SHOWN])
    more = f", and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
    what = "1 class has" if len(empty) == 1 else f"{len(empty)} classes have"
    raise DataError(
        f"{what} no usable training image",
        escape_control(shown) + more,
        "repair files of these classes, or remove their folders",
    )


def _without_bad(store: Store) -> Store:
    bad = find_bad(store)
    if not bad:
        return store
    remark = f"{len(bad)} bad files left out (dataset.on_bad=skip)"
    return SubsetStore(
        store,
        store.split,
        good_images(store, bad).nonzero()[:, 0],
        note=join_notes(store.note, remark),
        left_out=(*store.left_out, *((file.path, file.reason) for file in bad)),
    )
