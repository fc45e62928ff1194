"""The largest activations of every unit of a layer over a data set, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.models.network import Network
from cnnlab.visualization.layer_access import flatten_positions, map_width, maps_at
from cnnlab.visualization.probe import Batches


class Entries(NamedTuple):
    """Activations of K units: value, image index and position in the flattened map, each [K,n]."""

    values: Tensor
    indices: Tensor
    positions: Tensor


@dataclass(frozen=True)
class TopActivations:
    """The largest activations of each of K units, in descending order, at most one per image.

    values float [K,T]; indices int64 [K,T] of the images; positions int64 [K,T] in the flattened
    map of map_width columns. T is the requested count, or the size of a smaller set.
    """

    values: Tensor
    indices: Tensor
    positions: Tensor
    map_width: int

    def leading_units(self, num_units: int) -> Tensor:
        """Return the units with the largest mean of their top activations: int64 [U]."""
        return self.values.mean(1).argsort(descending=True, stable=True)[:num_units]


@torch.no_grad()
def find_top_activations(
    model: Network,
    batches: Batches,
    normalize: Callable[[Tensor], Tensor],
    layer: str,
    count: int = 9,
) -> TopActivations:
    """Stream the set once through the network, up to `layer`; keep `count` entries per unit.

    Memory is one batch and K times `count` entries, independent of the size of the set. Of equal
    activations the earlier image is kept, so the result does not depend on the batch size.
    """
    kept: Entries | None = None
    first, width = 0, 1
    with eval_mode(model):
        for images, _ in batches:
            maps = maps_at(model, normalize(images), layer)
            kept = _keep(kept, _peaks(maps, first), count)
            width = map_width(maps)
            first += len(images)

    assert kept is not None, "an empty set was refused before"
    return TopActivations(*kept, map_width=width)


def _peaks(maps: Tensor, first: int) -> Entries:
    """Return each unit's maximum in each image of a batch, as entries [K,n]."""
    values, positions = flatten_positions(maps).max(2)
    indices = torch.arange(first, first + len(maps), device=maps.device)
    return Entries(values.T, indices.expand(maps.shape[1], -1), positions.T)


def _keep(kept: Entries | None, fresh: Entries, count: int) -> Entries:
    """Return the largest `count` entries of both, per unit."""
    if kept is not None:
        fresh = Entries(*(torch.cat(pair, dim=1) for pair in zip(kept, fresh, strict=True)))
    order = fresh.values.argsort(dim=1, descending=True, stable=True)[:, :count]
    return Entries(*(part.gather(1, order) for part in fresh))
