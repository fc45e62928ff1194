"""The images in the page: some to start from, the worst misses, and neighbors in the last layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cnnlab import images as pixels
from cnnlab.errors import UsageError
from cnnlab.eval_mode import eval_mode
from cnnlab.evaluation.observers import WorstMisses
from cnnlab.models.network import Network
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization.layer_access import hidden_layer, maps_at
from cnnlab.visualization.probe import ImageSet, Probe, in_parts

NUM_MISSES = 12
NUM_NEIGHBORS = 300
THUMBNAIL_PIXELS = 40
NUM_LEVELS = 255


@dataclass(frozen=True)
class Examples:
    """Images to start from, uint8 [n,C,S,S]; the last `num_misses` are misclassified.

    labels: of each, None where unknown.
    """

    images: Tensor
    labels: list[int | None]
    num_misses: int


@dataclass(frozen=True)
class Neighbors:
    """Training images in the last hidden layer.

    layer: its name. thumbnails: uint8 [n,C,s,s]. vectors: uint8 [n,D], where level v stands for
    low + v (high - low) / 255.
    """

    layer: str
    thumbnails: Tensor
    labels: list[int]
    vectors: Tensor
    low: float
    high: float


def examples_of(network: Network, probe: Probe) -> Examples:
    """Return the probe's images, and the misclassified images of its set of most confidence."""
    known = [None] * len(probe.images) if probe.labels is None else probe.labels.tolist()
    if probe.image_set is None or not probe.image_set.num_images:
        return Examples(probe.images, known, 0)

    worst = WorstMisses(NUM_MISSES)
    with torch.no_grad(), eval_mode(network):
        for images, labels in probe.image_set.batches():
            probabilities = checked_probabilities(network(probe.normalize(images)))
            worst(labels, probabilities[:, None, None])

    misses = worst.misses
    if not misses:
        return Examples(probe.images, known, 0)
    missed = probe.image_set.read(torch.tensor([miss.index for miss in misses]))
    return Examples(
        torch.cat([probe.images, missed]), known + [miss.label for miss in misses], len(misses)
    )


def neighbors_of(network: Network, probe: Probe) -> Neighbors | None:
    """Return training images of all classes with their vectors in the last hidden layer.

    Returns None for a network without one, and without training images. Source: Krizhevsky et al.
    2012, figure 4 (right). Departure: the vectors are rounded to 256 levels.
    """
    train_set = probe.train_set
    if train_set is None or train_set.labels is None or not train_set.num_images:
        return None
    try:
        layer = hidden_layer(network)
    except UsageError:
        return None

    chosen = of_all_classes(train_set)
    thumbnails, vectors = [], []
    with torch.no_grad(), eval_mode(network):
        for part in in_parts(len(chosen), probe.batch_size):
            images = train_set.read(chosen[part])
            vectors.append(maps_at(network, probe.normalize(images), layer).flatten(1).cpu())
            side = min(images.shape[-1], THUMBNAIL_PIXELS)
            thumbnails.append(pixels.resize(images, side).cpu())

    found = torch.cat(vectors).float()
    low, high = float(found.min()), float(found.max())
    step = (high - low) / NUM_LEVELS or 1.0
    levels = ((found - low) / step).round().clamp(0, NUM_LEVELS).to(torch.uint8)
    labels = train_set.labels[chosen].tolist()
    return Neighbors(layer, torch.cat(thumbnails), labels, levels, low, high)


def of_all_classes(image_set: ImageSet) -> Tensor:
    """Return the indices of a few hundred images, of each class in proportion."""
    assert image_set.labels is not None
    by_class = image_set.labels.argsort(stable=True)
    count = min(NUM_NEIGHBORS, len(by_class))
    evenly = torch.arange(count) * len(by_class) // count
    return by_class[evenly].sort().values
