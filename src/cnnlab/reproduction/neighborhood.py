"""The nearest training images of test images: in the last hidden layer, and in pixels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import of_each_run, opened, probe
from cnnlab.reproduction.measure import Arm
from cnnlab.visualization.layer_access import hidden_layer
from cnnlab.visualization.neighbors import find_neighbors
from cnnlab.visualization.probe import needed_set

NAME = "neighbors"
NUM_QUERIES = 200
"""Test images, as many of each class."""

NUM_NEIGHBORS = 6
"""As in figure 4 of Krizhevsky et al. 2012."""


def shared_neighbors(arm: Arm) -> list[float]:
    """Return for each image the share of its nearest by features that are nearest in pixels, too.

    The mean over the runs. Source: Krizhevsky et al. 2012, section 6.1, which says it of Euclidean
    distances without a figure.
    """
    return _mean([one["shared"] for one in of_each_run(arm, NAME, _find)])


def gain_of_features(arm: Arm) -> list[float]:
    """Return for each image how much more of its nearest have its class by features than in pixels.

    The mean over the runs.
    """
    found = of_each_run(arm, NAME, _find)
    return _mean([np.subtract(one["same_class"], one["same_class_in_pixels"]) for one in found])


def _mean(of_runs: Any) -> list[float]:
    found: list[float] = np.mean(of_runs, axis=0).tolist()
    return found


def _find(arm: Arm, run: PlannedRun) -> dict[str, list[float]]:
    """Return, for each query, shares 0..1 of its nearest images."""
    stored = opened(arm, run)
    queries = probe(stored, run, NUM_QUERIES)
    assert queries.labels is not None
    train_set = needed_set(queries.train_set, NAME, "training")

    layer = hidden_layer(stored.network)
    near = find_neighbors(stored.network, queries, layer, train_set.batches(), NUM_NEIGHBORS)
    in_pixels = find_neighbors(stored.network, queries, None, train_set.batches(), NUM_NEIGHBORS)
    return {
        "shared": shared(near.indices, in_pixels.indices),
        "same_class": same_class(near.labels, queries.labels),
        "same_class_in_pixels": same_class(in_pixels.labels, queries.labels),
    }


def shared(found: Tensor, other: Tensor) -> list[float]:
    """Return for each query the share of its indices [Q,T] that it has in `other`, too."""
    both = (found[:, :, None] == other[:, None, :]).any(2)
    shares: list[float] = both.to(torch.float32).mean(1).tolist()
    return shares


def same_class(found: Tensor, labels: Tensor) -> list[float]:
    """Return for each query the share of its neighbors' labels [Q,T] that are its own."""
    same = found == labels[:, None].to(found.device)
    shares: list[float] = same.to(torch.float32).mean(1).tolist()
    return shares
