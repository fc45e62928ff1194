"""How well a linear read-out of a layer tells classes: those of the training, and digits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab import data
from cnnlab.config import DatasetConfig, choices, parse_dataset
from cnnlab.data.store import Splits, Store
from cnnlab.eval_mode import eval_mode
from cnnlab.inference.datasets import named_split
from cnnlab.inference.network import StoredNetwork
from cnnlab.inference.probing import balanced_indices, central_view
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import BATCH, of_each_run, opened
from cnnlab.reproduction.measure import Arm
from cnnlab.visualization.layer_access import hidden_layer, layers_with, maps_at

OTHER_SET = "mnist5k"
"""Digits, which are installed with cnnlab."""

MOST_IMAGES = 2000
"""Images of each split that are read out, as many of each class."""

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Strengths of the penalty that are tried on validation images, over the features' variance."""


def gain_of_depth(arm: Arm) -> list[float]:
    """Return of each run how much better its last hidden layer is read out than its first pooling.

    The difference of the errors of two linear classifiers of the run's own classes.
    """
    return of_each_run(arm, "depth", lambda arm, run: _gain(arm, run, run.config.dataset))


def gain_of_depth_elsewhere(arm: Arm) -> list[float]:
    """Return the same of digits, which the network was not trained on.

    Source: Zeiler and Fergus 2014, section 5.3 and table 7, who read out other photographs from
    ImageNet's features by a linear support vector machine; here it is least squares.
    """
    return of_each_run(arm, "depth_elsewhere", lambda arm, run: _gain(arm, run, _digits(run)))


def _digits(run: PlannedRun) -> DatasetConfig:
    """Return the digits in the size of a run's images."""
    own = run.config.dataset
    sizes = {"image_size_pixels": own.image_size_pixels, "pad_pixels": own.pad_pixels}
    return parse_dataset(choices.alone("dataset", OTHER_SET) | sizes)


def _gain(arm: Arm, run: PlannedRun, dataset: DatasetConfig) -> float:
    stored, splits = opened(arm, run), data.build(dataset)
    first = layers_with(stored.network, "pool", "subsample")[0].name
    errors = [_error(stored, splits, name) for name in (first, hidden_layer(stored.network))]
    return errors[0] - errors[1]


def _error(stored: StoredNetwork, splits: Splits, layer: str) -> float:
    """Return the test error of the read-out of a layer."""
    stores = [named_split(splits, name) for name in ("train", "validation", "test")]
    chosen = [balanced_indices(store.labels, MOST_IMAGES) for store in stores]
    sets = [
        (_features(stored, store, indices, layer), store.labels[indices])
        for store, indices in zip(stores, chosen, strict=True)
    ]
    return readout_error(sets, len(splits.train.class_names))


@torch.no_grad()
def _features(stored: StoredNetwork, store: Store, chosen: Tensor, layer: str) -> Tensor:
    """Return a layer's outputs for the chosen images, float64 [N,D], on the CPU."""
    see = central_view(stored.preprocessing, stored.network.input_size_pixels)
    found = []
    with eval_mode(stored.network):
        for indices in chosen.split(BATCH):
            pixels = stored.preprocessing.normalize(see(store.read(indices)))
            found.append(maps_at(stored.network, pixels, layer).flatten(1).cpu())
    return torch.cat(found).to(torch.float64)


def readout_error(sets: Sequence[tuple[Tensor, Tensor]], num_classes: int) -> float:
    """Return the test error of a linear classifier of features.

    sets: (features [N,D], labels [N]) to train on, to choose the penalty with, and to test on.
    Least squares to targets of 1 and 0, with a penalty on the squared weights, solved in the space
    of the training images. The strongest penalty of least validation error is taken.
    """
    (train, labels), *others = sets
    center = train.mean(0)
    train = train - center
    targets = torch.nn.functional.one_hot(labels, num_classes).to(train.dtype)

    gram = train @ train.T
    scale = gram.diagonal().mean()
    products = [(features - center) @ train.T for features, _ in others]
    truths = [known for _, known in others]

    best: tuple[float, float] | None = None
    for ridge in sorted(RIDGES, reverse=True):
        penalty = ridge * scale * torch.eye(len(train), dtype=train.dtype)
        weights = torch.linalg.solve(gram + penalty, targets - targets.mean(0))
        answers = [(product @ weights + targets.mean(0)).argmax(1) for product in products]
        validation, test = (_wrong(a, t) for a, t in zip(answers, truths, strict=True))
        if best is None or validation < best[0]:
            best = (validation, test)
    assert best is not None
    return best[1]


def _wrong(answers: Tensor, labels: Tensor) -> float:
    return float((answers != labels).to(torch.float64).mean())
