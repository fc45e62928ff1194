"""Seeded stratified splits: which training images are held out for choosing."""

import torch
from torch import Tensor

from cnnlab.data.store import Store, SubsetStore
from cnnlab.errors import UsageError
from cnnlab.runtime import make_generator


def hold_out(
    train: Store, num_held: int, seed: int, names: tuple[str, str] = ("train", "validation")
) -> tuple[Store, Store | None]:
    """Take a stratified part of `train` away; with none asked for there is none.

    Images of one group stay together: then whole groups are drawn, and the part has about, not
    exactly, num_held images. Raises UsageError when too little would be left to train on.
    """
    if num_held == 0:
        return train, None
    if num_held > len(train) - len(train.class_names):
        raise UsageError(
            f"{num_held} images cannot be held out for {names[1]}",
            f"{train.name} has {len(train)} training images in {len(train.class_names)} classes",
            "leave at least one training image a class: dataset.num_validation, dataset.num_test",
        )
    if train.groups is None:
        kept, held = stratified(train.labels, num_held, seed)
    else:
        kept, held = stratified_groups(train.labels, train.groups, num_held, seed)
    return SubsetStore(train, names[0], kept), SubsetStore(train, names[1], held)


def stratified_groups(
    labels: Tensor, groups: Tensor, num_held: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return (kept, held) indices; no group is in both. All images of a group have one label."""
    _, group_of = groups.unique(return_inverse=True)
    num_groups = int(group_of.max()) + 1
    group_labels = torch.zeros(num_groups, dtype=torch.int64).scatter_(0, group_of, labels)
    num_held_groups = max(1, min(num_groups - 1, round(num_held * num_groups / len(labels))))
    _, held_groups = stratified(group_labels, num_held_groups, seed)
    is_held = torch.isin(group_of, held_groups)
    return (~is_held).nonzero()[:, 0], is_held.nonzero()[:, 0]


def stratified(labels: Tensor, num_held: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return (kept, held) indices, each ascending; classes are held in proportion to their size.

    What does not divide goes to the classes with the largest remainder, lowest label first.
    """
    counts = torch.bincount(labels)
    shares = counts.double() * num_held / len(labels)
    quota = shares.floor().long()
    by_remainder = torch.argsort(shares - quota, descending=True, stable=True)
    quota[by_remainder[: num_held - int(quota.sum())]] += 1
    order = torch.randperm(len(labels), generator=make_generator(seed, "split"))
    by_class = order[torch.argsort(labels[order], stable=True)]  # each class shuffled, in a row
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - starts[labels[by_class]]
    is_held = rank < quota[labels[by_class]]
    return by_class[~is_held].sort().values, by_class[is_held].sort().values
