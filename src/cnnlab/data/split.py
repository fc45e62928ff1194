"""Seeded stratified splits: which training images are held out, and which of the rest are used."""

import torch
from torch import Tensor

from cnnlab.data.listing import first_names
from cnnlab.data.store import Store, SubsetStore
from cnnlab.errors import UsageError
from cnnlab.runtime import make_generator


def hold_out(
    train: Store, num_held: int, seed: int, names: tuple[str, str] = ("train", "validation")
) -> tuple[Store, Store | None]:
    """Split `train` into (rest, stratified held-out part); the latter is None for num_held=0.

    Every class keeps a training image. Where the set has groups, whole groups are held out, of
    about, not exactly, num_held images. Raises UsageError where a class would be left without.
    """
    if num_held == 0:
        return train, None
    if train.groups is None:
        _check_left(train, num_held, names[1], "images", train.labels)
        kept, held = stratified(train.labels, num_held, seed)
    else:
        group_labels, num_groups = _held_groups(train.labels, train.groups, num_held)
        _check_left(train, num_groups, names[1], "groups of images", group_labels)
        kept, held = stratified_groups(train.labels, train.groups, num_held, seed)

    # the source's note is shown once, for the training images
    return SubsetStore(train, names[0], kept), SubsetStore(train, names[1], held, note="")


def _check_left(train: Store, num_held: int, part: str, unit: str, labels: Tensor) -> None:
    """Raise UsageError unless every class keeps one unit (image or group).

    num_held: how many units are held out. labels: int64, one per unit.
    """
    counts = torch.bincount(labels, minlength=len(train.class_names))
    most = len(labels) - int((counts > 0).sum())
    if num_held <= most:
        return
    single = [train.class_names[label] for label in (counts == 1).nonzero()[:, 0].tolist()]
    shown = f"; only one in {first_names(single)}" if single else ""
    raise UsageError(
        f"{num_held} {unit} cannot be held out for {part}: every class keeps one for training",
        f"{train.name} has {len(labels)} {unit} in {len(train.class_names)} classes{shown}",
        f"at most {most} can be held out: dataset.num_validation, dataset.num_test",
    )


def stratified_groups(
    labels: Tensor, groups: Tensor, num_held: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return (kept, held) indices, no group in both. The images of a group share one label."""
    _, group_of = groups.unique(return_inverse=True)
    group_labels, num_held_groups = _held_groups(labels, groups, num_held)
    _, held_groups = stratified(group_labels, num_held_groups, seed)
    is_held = torch.isin(group_of, held_groups)
    return (~is_held).nonzero()[:, 0], is_held.nonzero()[:, 0]


def _held_groups(labels: Tensor, groups: Tensor, num_held: int) -> tuple[Tensor, int]:
    """Return the label of each group, and how many groups have about num_held images."""
    _, group_of = groups.unique(return_inverse=True)
    num_groups = int(group_of.max()) + 1
    group_labels = torch.zeros(num_groups, dtype=torch.int64).scatter_(0, group_of, labels)
    return group_labels, max(1, round(num_held * num_groups / len(labels)))


def stratified(labels: Tensor, num_held: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return (kept, held) indices, each ascending; classes are held out in proportion to size.

    Every class keeps one: num_held is at most the images minus the non-empty classes.
    """
    counts = torch.bincount(labels)
    quota = _quotas(counts, num_held)
    order = torch.randperm(len(labels), generator=make_generator(seed, "split"))
    by_class = order[torch.argsort(labels[order], stable=True)]  # class after class, each shuffled

    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    is_held = rank < quota[labels[by_class]]
    return by_class[~is_held].sort().values, by_class[is_held].sort().values


def _quotas(counts: Tensor, num_held: int) -> Tensor:
    """Return how many of each class are held out: int64 [K], below `counts`, num_held in total.

    Largest remainder method, ties to the lowest label; a class that would lose its last image is
    skipped.
    """
    shares = counts.double() * num_held / int(counts.sum())
    quota = shares.floor().long()
    by_remainder = torch.argsort(shares - quota, descending=True, stable=True)
    while (left := num_held - int(quota.sum())) > 0:
        with_room = by_remainder[(counts - 1 > quota)[by_remainder]]
        assert len(with_room), "num_held exceeds what can be held out"
        quota[with_room[:left]] += 1
    return quota


class TrainingSubset(SubsetStore):
    """Some of the training images; statistics that were recorded of all of them are not theirs."""

    def __init__(self, parent: Store, split: str, indices: Tensor, note: str) -> None:
        super().__init__(parent, split, indices, note)
        self.statistics = None

    def _with_parent(self, parent: Store) -> "TrainingSubset":
        return TrainingSubset(parent, self.split, self._indices, self.note)


def training_subset(train: Store, num_images: int, seed: int) -> Store:
    """Return `num_images` of the training images, every class in proportion to its size.

    The subsets of one seed are nested: a smaller one is part of each larger one, so that a curve
    over their sizes shows the effect of more images. Images are drawn one by one, also where a set
    has groups. Raises UsageError for more images than there are, or fewer than classes.
    """
    num_classes = len(train.labels.unique())
    if not num_classes <= num_images <= len(train):
        raise UsageError(
            f"dataset.train_subset={num_images} does not fit {len(train)} training images of "
            f"{num_classes} classes",
            f"{train.name}, after validation is held out",
            f"from {num_classes}, one per class, to {len(train)}; null: all",
        )

    chosen = nested_order(train.labels, seed)[:num_images].sort().values
    share = f"{num_images:,} of {len(train):,} training images"
    return TrainingSubset(train, train.split, chosen, "; ".join(filter(None, (train.note, share))))


def nested_order(labels: Tensor, seed: int) -> Tensor:
    """Return all indices in an order whose every beginning is stratified: int64 [N].

    First one image of each class; then always the class that is furthest behind its share, by the
    divisor method of Webster. Quotas by largest remainder would not be nested: with one image more
    in all, a class may get one less.
    """
    counts = torch.bincount(labels)
    order = torch.randperm(len(labels), generator=make_generator(seed, "subset"))
    by_class = order[torch.argsort(labels[order], stable=True)]  # class after class, each shuffled

    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    position = (rank + 0.5) / counts[labels[by_class]]
    return by_class[torch.where(rank == 0, 0.0, position).argsort(stable=True)]
