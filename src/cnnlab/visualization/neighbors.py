"""Nearest training images in the last hidden layer, and most probable classes (2012, figure 4)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.numerics import checked_probabilities
from cnnlab.visualization import grid
from cnnlab.visualization.figures import (
    BLACK,
    BLUE,
    ORANGE,
    Picture,
    new_figure,
    show,
    show_labeled,
)
from cnnlab.visualization.layer_access import check_layer, hidden_layer, maps_at
from cnnlab.visualization.numbers import plain
from cnnlab.visualization.probe import Batches, ImageSet, Probe, needed_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_QUERIES, NUM_NEIGHBORS = 6, 6
NUM_PREDICTIONS, NUM_BARS = 8, 5
TILE_PIXELS = 128


@dataclass(frozen=True)
class Neighbors:
    """The nearest images of each of Q queries, nearest first, [Q,T] each; indices, labels int64."""

    distances: Tensor
    indices: Tensor
    labels: Tensor


@torch.no_grad()
def find_neighbors(
    model: Network, probe: Probe, layer: str | None, batches: Batches, count: int
) -> Neighbors:
    """Stream a set and keep the nearest `count` images of each probe image.

    Euclidean distance between the layer's outputs; layer None: between the pixels. Memory is one
    batch and Q times `count` entries. Of equal distances the earlier image is kept.
    """
    kept: Neighbors | None = None
    first = 0
    with eval_mode(model):
        queries = _features(model, probe, probe.images, layer)
        for images, labels in batches:
            features = _features(model, probe, images, layer)

            # differences, not the faster dot products, whose rounding makes equal images differ
            distances = torch.cdist(queries, features, compute_mode="donot_use_mm_for_euclid_dist")
            indices = torch.arange(first, first + len(images), device=distances.device)
            fresh = Neighbors(distances, indices.expand_as(distances), labels.expand_as(distances))
            kept = _nearest(kept, fresh, count)
            first += len(images)

    assert kept is not None, "an empty set was refused before"
    return kept


def draw_neighbors(model: Network, probe: Probe) -> list[Picture]:
    """Draw images with their nearest training images in the last hidden layer.

    The facts compare them with the nearest in pixels. Source: Krizhevsky et al. 2012, figure 4
    (right).
    """
    train_set = needed_set(probe.train_set, "neighbors", "training")
    layer = hidden_layer(model) if probe.layer is None else check_layer(model, probe.layer)
    few = _first_images(probe, NUM_QUERIES)
    found = find_neighbors(model, few, layer, train_set.batches(), NUM_NEIGHBORS)
    in_pixels = find_neighbors(model, few, None, train_set.batches(), NUM_NEIGHBORS)

    title = probe.title(f"nearest training images in {layer}")
    count = found.indices.shape[1]
    figure = new_figure(1.25 * (count + 1) + 0.4, 1.4 * len(few.images) + 0.6, title)
    _draw_rows(figure.subplots(), few, found, train_set)

    shared = _num_shared(found.indices, in_pixels.indices)
    caption = (
        f"Left, blue: the images. Right: their nearest of {train_set.num_images} training images "
        f"by Euclidean distance (the number) in {layer}; orange: another class. "
        f"{shared} of the {found.indices.numel()} are also among the nearest in pixels."
    )
    facts = {
        "layer": layer,
        "indices": found.indices.tolist(),
        "distances": plain(found.distances),
        "same_class": _same_class(found, few.labels),
        "same_class_in_pixels": _same_class(in_pixels, few.labels),
        "shared_with_pixels": shared,
    }
    return [Picture("neighbors", title, caption, figure, facts)]


def draw_predictions(model: Network, probe: Probe) -> list[Picture]:
    """Draw eight images with bars for their five most probable classes, the true one in orange.

    Source: Krizhevsky et al. 2012, figure 4 (left).
    """
    few = _first_images(probe, NUM_PREDICTIONS)
    with torch.no_grad(), eval_mode(model):
        probabilities = checked_probabilities(model(probe.normalize(few.images))).cpu()

    title = probe.title("predictions")
    columns = min(4, len(few.images))
    rows = -(-len(few.images) // columns)
    figure = new_figure(2.4 * columns, 3.4 * rows + 0.6, title)
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.5, 1] * rows)
    for one in axes.flatten():
        one.set_axis_off()

    for n, image in enumerate(few.images):
        row, column = divmod(n, columns)
        label = None if few.labels is None else int(few.labels[n])
        show(axes[2 * row, column], grid.pixels_to_unit(image), _name(probe, label, ""))
        _bars(axes[2 * row + 1, column], probe, probabilities[n], label)

    caption = "The five most probable classes of each image; the true one orange and hatched."
    facts = {"probabilities": plain(probabilities)}
    if few.labels is not None:
        facts["labels"] = few.labels.tolist()
    return [Picture("predictions", title, caption, figure, facts)]


def _draw_rows(axes: "Axes", few: Probe, found: Neighbors, train_set: ImageSet) -> None:
    """Draw one row per query: the image, then its neighbors with class and distance."""
    pictures, headings, colors = [], [], []
    for n, image in enumerate(few.images):
        own = None if few.labels is None else int(few.labels[n])
        pictures += [image[None], train_set.read(found.indices[n].cpu())]
        headings.append(_name(few, own, "query"))
        colors.append(BLUE)

        for label, distance in zip(found.labels[n].tolist(), found.distances[n], strict=True):
            headings.append(f"{few.class_name(label)} ({distance:.2g})")
            colors.append(BLACK if own in (None, label) else ORANGE)

    sheet = grid.shrink(grid.pixels_to_unit(torch.cat(pictures)), TILE_PIXELS)
    show_labeled(axes, sheet, headings, found.indices.shape[1] + 1, colors)


def _bars(axes: "Axes", probe: Probe, probabilities: Tensor, label: int | None) -> None:
    """Draw the largest of the probabilities [K] as bars, that of the true class hatched."""
    values, classes = probabilities.topk(min(NUM_BARS, len(probabilities)))
    is_true = [one == label for one in classes.tolist()]
    bars = axes.barh(
        range(len(values)), values.tolist(), color=[ORANGE if true else BLUE for true in is_true]
    )
    for bar, true in zip(bars, is_true, strict=True):
        bar.set_hatch("///" if true else "")

    axes.set_axis_on()
    class_names = [probe.class_name(one) for one in classes.tolist()]
    axes.set_yticks(range(len(values)), class_names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=7)


def _first_images(probe: Probe, count: int) -> Probe:
    labels = None if probe.labels is None else probe.labels[:count]
    return replace(probe, images=probe.images[:count], labels=labels)


def _features(model: Network, probe: Probe, images: Tensor, layer: str | None) -> Tensor:
    pixels = probe.normalize(images)
    return (pixels if layer is None else maps_at(model, pixels, layer)).flatten(1)


def _nearest(kept: Neighbors | None, fresh: Neighbors, count: int) -> Neighbors:
    """Return the nearest `count` of both, per query."""
    distances, indices, labels = fresh.distances, fresh.indices, fresh.labels
    if kept is not None:
        distances = torch.cat([kept.distances, distances], dim=1)
        indices = torch.cat([kept.indices, indices], dim=1)
        labels = torch.cat([kept.labels, labels], dim=1)
    order = distances.argsort(dim=1, stable=True)[:, :count]
    return Neighbors(*(part.gather(1, order) for part in (distances, indices, labels)))


def _num_shared(found: Tensor, other: Tensor) -> int:
    """Return how many of the indices [Q,T] the same query has in `other` too."""
    return int((found[:, :, None] == other[:, None, :]).any(2).sum())


def _same_class(found: Neighbors, labels: Tensor | None) -> float | None:
    """Return the fraction of neighbors of the query's class; None for unknown labels."""
    if labels is None:
        return None
    return float((found.labels == labels[:, None].to(found.labels.device)).float().mean())


def _name(probe: Probe, label: int | None, otherwise: str) -> str:
    return otherwise if label is None else probe.class_name(label)
