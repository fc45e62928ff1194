"""A gray square over an image on a larger canvas: does it cost most where the object is?"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.eval_mode import eval_mode
from cnnlab.inference.network import StoredNetwork
from cnnlab.numerics import checked_probabilities
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import of_each_run, opened, probe
from cnnlab.reproduction.measure import Arm
from cnnlab.runtime import make_generator
from cnnlab.visualization.occlusion import cover
from cnnlab.visualization.probe import Probe, in_parts
from cnnlab.visualization.transformations import shift, shift_down

NUM_IMAGES = 100
"""Test images, as many of each class."""

SQUARE, STEP = 8, 16
"""The square's side is the image's over this, and its step the image's over that."""


def found_objects(arm: Arm) -> list[float]:
    """Return for each image whether the square costs most on the object, minus what chance gives.

    The border of the image (`dataset.pad_pixels`) is a canvas on which its content, the object, is
    moved to a place drawn for each image. A square of the mean gray level covers each place; 1 if
    the middle of the one that lowers the probability of the true class most is inside the object's
    box, else 0, minus the share of middles that are. The mean over the runs. Source: Zeiler and
    Fergus 2014, section 4.2 and figure 7, which shows it on photographs.
    """
    means: list[float] = np.mean(of_each_run(arm, "occlusion", _found), axis=0).tolist()
    return means


def _found(arm: Arm, run: PlannedRun) -> list[float]:
    stored = opened(arm, run)
    room = stored.preprocessing.pad_pixels
    if room < 1:
        raise DataError("the images have no border to move in", str(run.path), "dataset.pad_pixels")

    seen = probe(stored, run, NUM_IMAGES)
    assert seen.labels is not None
    generator = make_generator(0, "found_objects")
    offsets = torch.randint(-room, room + 1, (len(seen.images), 2), generator=generator).tolist()
    return [
        _hit(stored, seen, shift(shift_down(image, down), right), int(label), (down, right))
        for image, label, (down, right) in zip(seen.images, seen.labels, offsets, strict=True)
    ]


def _hit(
    stored: StoredNetwork, seen: Probe, image: Tensor, label: int, offset: tuple[int, int]
) -> float:
    """Return 1 or 0, minus the chance, for one moved image uint8 [C,S,S]."""
    side, room = image.shape[-1], stored.preprocessing.pad_pixels
    middles = torch.arange(0, side, max(1, side // STEP))
    places = torch.cartesian_prod(middles, middles)
    probabilities = _probabilities(stored, seen, image, places)[:, label]

    corner = torch.tensor(offset) + room
    is_inside = ((places >= corner) & (places < corner + side - 2 * room)).all(1)
    best = int(probabilities.argmin())  # the largest loss; the uncovered image is one for all
    return float(is_inside[best]) - float(is_inside.to(torch.float32).mean())


@torch.no_grad()
def _probabilities(stored: StoredNetwork, seen: Probe, image: Tensor, places: Tensor) -> Tensor:
    """Return the probabilities [P,K] with the square at each place [P,2]."""
    level = round(float(stored.preprocessing.mean.mean()))
    size = max(2, image.shape[-1] // SQUARE)
    found: list[Any] = []
    with eval_mode(stored.network):
        for part in in_parts(len(places), seen.batch_size):
            covered = cover(image, places[part].to(image.device), size, level)
            found.append(checked_probabilities(stored.network(seen.normalize(covered))).cpu())
    return torch.cat(found)
