"""Networks whose images move: what changes in a layer, and how often the answer does."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import of_each_run, opened, probe
from cnnlab.reproduction.measure import Arm
from cnnlab.visualization import invariance
from cnnlab.visualization.layer_access import hidden_layer, layers_with
from cnnlab.visualization.patches import field_of
from cnnlab.visualization.probe import Probe, in_parts, needed_set
from cnnlab.visualization.transformations import scale, shift, shift_down

NUM_IMAGES = 256
"""Test images that are moved, as many of each class."""

SMALL_SHIFT, SMALL_SCALES = 16, (0.9, 1.1)
"""A shift by the side of the image over this, up, down, left and right, and factors of its size."""

NUM_JUMPS = 2
"""Shifts by one unit of the first convolution's maps, by two, ..."""

Change = Callable[[Tensor], Tensor]


def stability_of_depth(arm: Arm) -> list[float]:
    """Return of each run how much more its first convolution changes than its last hidden layer.

    The change is the distance of a layer's output from that for the image itself, over its norm,
    mean over images and small shifts and scalings. Source: Zeiler and Fergus 2014, figure 5, which
    has the distances as curves of five images.
    """
    return of_each_run(arm, "stability", _stability)


def _stability(arm: Arm, run: PlannedRun) -> float:
    stored = opened(arm, run)
    network, seen = stored.network, probe(stored, run, NUM_IMAGES)
    early, late = _first_convolution(network), hidden_layer(network)

    gains = []
    for part in in_parts(len(seen.images), seen.batch_size):
        images = seen.images[part]
        still = invariance.maps_of(network, seen, images, [early, late])
        for change in small_changes(seen.size_pixels):
            moved = invariance.maps_of(network, seen, change(images), [early, late])
            more = [invariance.relative_change(still[name], moved[name]) for name in (early, late)]
            gains.append((more[0] - more[1]) * len(images))
    return sum(gains) / len(seen.images) / len(small_changes(seen.size_pixels))


def small_changes(side: int) -> list[Change]:
    """Return the six changes of images of `side` pixels."""
    by = max(1, side // SMALL_SHIFT)
    return [*_directions(by), *(partial(scale, factor=factor) for factor in SMALL_SCALES)]


def _directions(by: int) -> Iterator[Change]:
    """Yield the shifts by so many pixels, right, left, down and up."""
    for pixels in (by, -by):
        yield partial(shift, pixels=pixels)
        yield partial(shift_down, pixels=pixels)


def equivariance_error(arm: Arm) -> list[float]:
    """Return of each run how far its first convolution is from moving with the image.

    The largest relative error of the maps of shifted images against the shifted maps, away from
    the border, for shifts that are whole units of the map: rounding alone, if it is equivariant.
    """
    return of_each_run(arm, "equivariance", _equivariance)


def _equivariance(arm: Arm, run: PlannedRun) -> float:
    stored = opened(arm, run)
    network, seen = stored.network, probe(stored, run, NUM_IMAGES)
    name = _first_convolution(network)
    field, images = field_of(network, name), seen.images[: seen.batch_size]

    still = invariance.maps_of(network, seen, images, [name])[name]
    errors = []
    for jumps in range(1, NUM_JUMPS + 1):
        pixels = jumps * field.jump_pixels
        moved = invariance.maps_of(network, seen, shift(images, pixels), [name])[name]
        inside, _ = invariance.equivariance_error(still, moved, field, pixels, seen.size_pixels)
        if inside is None:
            raise DataError(f"{name} has no unit away from the border", str(run.path))
        errors.append(inside)
    return max(errors)


def answers_changed(arm: Arm) -> list[float]:
    """Return of each run how many of the test images get another class when they move.

    By `target` pixels right, left, down and up: the mean of the four shares, 0..1.
    """
    assert arm.target is not None
    by = round(arm.target)
    return of_each_run(arm, f"answers_changed_{by}", partial(_changed, by=by))


@torch.no_grad()
def _changed(arm: Arm, run: PlannedRun, by: int) -> float:
    stored = opened(arm, run)
    seen = probe(stored, run, 1)
    test_set = needed_set(seen.image_set, "answers_changed", "test")
    ways, changed = list(_directions(by)), 0

    with eval_mode(stored.network):
        for images, _ in test_set.batches():
            still = _answers(stored.network, seen, images)
            for change in ways:
                changed += int((_answers(stored.network, seen, change(images)) != still).sum())
    return changed / test_set.num_images / len(ways)


def _answers(network: Network, seen: Probe, images: Tensor) -> Tensor:
    return network(seen.normalize(images)).argmax(1)


def _first_convolution(network: Network) -> str:
    return layers_with(network, "conv")[0].name
