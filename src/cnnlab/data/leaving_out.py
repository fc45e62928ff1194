"""Files that hold no usable image: all of them named at once, or left out and recorded."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnnlab.data.listing import one_note
from cnnlab.data.store import Splits, Store, SubsetStore, all_indices
from cnnlab.errors import DataError
from cnnlab.printable import printable

MOST_LOOKED_AT = 50_000
"""Files that are decoded to name all bad ones, once one of them ended a command."""

SHOWN = 10
_AT_ONCE = 64

Named = list[tuple[int, str, str]]
"""Of each bad file its index, its name and the reason."""


class BadFilesError(DataError):
    """Files without a usable image, where `dataset.on_bad=skip` would leave them out."""


def listed(bad: Sequence[tuple[str, str]], num_shown: int = SHOWN) -> str:
    """Return the first names with their reasons, and how many more there are."""
    shown = "; ".join(printable(f"{name}: {reason}") for name, reason in bad[:num_shown])
    more = len(bad) - num_shown
    return shown + (f"; and {more} more" if more > 0 else "")


def find_bad(store: Store, num_looked_at: int | None = None) -> Named:
    """Decode every image, or the first so many, and return those that cannot be read."""
    found: Named = []
    for indices in all_indices(store)[:num_looked_at].split(_AT_ONCE):
        _, bad = store.read_good(indices)
        for place, error in bad:
            index = int(indices[place])
            found.append((index, store.name_of(index), error.reason))
    return found


def bad_files(store: Store, met: Named) -> BadFilesError:
    """Return the error that names all bad files of a split; met: those that were come across."""
    known = {item[0]: item for item in [*find_bad(store, MOST_LOOKED_AT), *met]}
    bad = [(name, reason) for _, name, reason in sorted(known.values())]
    least = "" if len(store) <= MOST_LOOKED_AT else "at least "
    return BadFilesError(
        f"{least}{len(bad)} of {len(store)} {store.split} files hold no usable image",
        listed(bad),
        "repair or remove them, or leave them out: dataset.on_bad=skip",
    )


def leave_out(splits: Splits) -> Splits:
    """Return the splits without the files that cannot be read. Every image is decoded for it.

    Raises DataError where a split, or a class of the training images, has nothing left.
    """
    stores = {name: _without_bad(store) for name, store in splits.stores().items()}
    return replace(splits, **stores)


def good_images(store: Store, bad: Named) -> Tensor:
    """Return bool [n]: the images that are left.

    Raises DataError where the split, or a class of the training images, has nothing left.
    """
    is_good = torch.ones(len(store), dtype=torch.bool)
    is_good[[index for index, _, _ in bad]] = False

    if bad and not is_good.any():
        named = listed([(name, reason) for _, name, reason in bad])
        raise DataError(f"no {store.split} file holds a usable image", named)
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
        printable(shown) + more,
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
        note=one_note(store.note, remark),
        left_out=(*store.left_out, *((name, reason) for _, name, reason in bad)),
    )
