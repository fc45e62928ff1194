"""The strongest activations of every unit of a layer over a data set, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnnlab.visualization.probe import Batches, evaluating
from cnnlab.visualization.walk import maps_at, places_of


class Entries(NamedTuple):
    """Activations of K units: value, image index and flattened position, each [K,n]."""

    values: Tensor
    indices: Tensor
    positions: Tensor


@dataclass(frozen=True)
class Strongest:
    """For each of K units the strongest images, at most one entry an image, strongest first.

    values float [K,T]; indices int64 [K,T] of the images; positions int64 [K,T] in the flattened
    map; map_width in units. T is the asked-for count, or less for a smaller set.
    """

    values: Tensor
    indices: Tensor
    positions: Tensor
    map_width: int

    def leading_units(self, num_units: int) -> Tensor:
        """Return the units with the largest mean of their strongest activations: int64 [U]."""
        return self.values.mean(1).argsort(descending=True, stable=True)[:num_units]


@torch.no_grad()
def find_strongest(
    model: nn.Module,
    batches: Batches,
    normalize: Callable[[Tensor], Tensor],
    layer: str,
    count: int = 9,
) -> Strongest:
    """Stream the set once through the network, up to `layer`, and keep `count` entries a unit.

    Memory is one batch and K times `count` entries, whatever the size of the set. Of equal
    activations the earlier image stays, so the batch size does not matter.
    """
    kept: Entries | None = None
    first, width = 0, 1
    with evaluating(model):
        for images, _ in batches:
            maps = maps_at(model, normalize(images), layer)
            width = maps.shape[-1] if maps.dim() == 4 else 1
            fresh = _peaks(maps, first)
            kept = _keep(kept, fresh, count)
            first += len(images)
    assert kept is not None, "an empty set was refused before"
    return Strongest(*kept, map_width=width)


def _peaks(maps: Tensor, first: int) -> Entries:
    """Reduce a batch to one entry an image and unit, n of them."""
    values, positions = places_of(maps).max(2)
    indices = torch.arange(first, first + len(maps), device=maps.device)
    return Entries(values.T, indices.expand(maps.shape[1], -1), positions.T)


def _keep(kept: Entries | None, fresh: Entries, count: int) -> Entries:
    if kept is not None:
        fresh = Entries(*(torch.cat(pair, dim=1) for pair in zip(kept, fresh, strict=True)))
    order = fresh.values.argsort(dim=1, descending=True, stable=True)[:, :count]
    return Entries(*(part.gather(1, order) for part in fresh))
