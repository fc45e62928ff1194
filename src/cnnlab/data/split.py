"""Seeded stratified splits: which training images are held out for choosing."""

import torch
from torch import Tensor

from cnnlab.data.store import Splits, Store, SubsetStore
from cnnlab.errors import UsageError
from cnnlab.runtime import make_generator


def hold_out(train: Store, test: Store, num_validation: int, split_seed: int) -> Splits:
    """Take a stratified part of `train` as validation; with none asked for there is none.

    Raises UsageError when fewer than one training image a class would be left.
    """
    if num_validation == 0:
        return Splits(train, None, test)
    if num_validation > len(train) - len(train.class_names):
        raise UsageError(
            f"dataset.num_validation is {num_validation}",
            f"{train.name} has {len(train)} training images in {len(train.class_names)} classes",
            "leave at least one training image a class",
        )
    kept, held = stratified(train.labels, num_validation, split_seed)
    return Splits(SubsetStore(train, "train", kept), SubsetStore(train, "validation", held), test)


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
