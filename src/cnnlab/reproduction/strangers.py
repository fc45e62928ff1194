"""Pictures that are no digits: whether a network is less certain of them than of digits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab import data
from cnnlab.data.store import Splits, Store
from cnnlab.eval_mode import eval_mode
from cnnlab.inference.network import StoredNetwork
from cnnlab.inference.probing import central_view
from cnnlab.models.network import Network
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import BATCH, of_each_run, opened
from cnnlab.reproduction.measure import Arm

MOST_IMAGES = 10_000
"""Test images of each set; the first ones."""


def rejects_strangers(arm: Arm) -> list[float]:
    """Return of each run how well its certainty tells its test images from those of another set.

    The area under the ROC curve, 0..1: the share of pairs in which the network is more certain of
    its own image than of the stranger, 0.5 by chance. Strangers get the preprocessing of the run.
    Source: LeCun et al. 1998, section II.B, which says without a measure that distances to
    distributed codes are better for rejecting what is no character.
    """
    return of_each_run(arm, "strangers", _rejects)


def _rejects(arm: Arm, run: PlannedRun) -> float:
    assert arm.other_set is not None
    stored = opened(arm, run)
    own, strangers = (
        _certainties(stored, _tested(data.build(dataset)))
        for dataset in (run.config.dataset, arm.other_set)
    )
    return area_under_curve(own, strangers)


def _tested(splits: Splits) -> Store:
    return splits.test if splits.test is not None else splits.train


@torch.no_grad()
def _certainties(stored: StoredNetwork, store: Store) -> Tensor:
    """Return how certain the network is of its answer to each image, float64 [N], on the CPU."""

    def found() -> Iterator[Tensor]:
        for indices in torch.arange(min(MOST_IMAGES, len(store))).split(BATCH):
            images = stored.preprocessing.normalize(see(store.read(indices)))
            yield certainty(stored.network, stored.network(images).cpu().to(torch.float64))

    see = central_view(stored.preprocessing, stored.network.input_size_pixels)
    with eval_mode(stored.network):
        return torch.cat(list(found()))


def certainty(network: Network, scores: Tensor) -> Tensor:
    """Return how certain scores [N,K] are, [N]; only its order has a meaning.

    Of distances to codes the smallest one, with its sign changed. Of softmax scores the probability
    of the predicted class, as log odds, which do not round to certainty.
    """
    best = scores.max(1)
    if network.layers[-1].role == "rbf":
        return best.values
    others = scores.scatter(1, best.indices[:, None], -torch.inf)
    return best.values - others.logsumexp(1)


def area_under_curve(own: Tensor, strangers: Tensor) -> float:
    """Return the share of pairs (own, stranger) in which the own value is larger; equal ones half.

    own [N], strangers [M], of one dtype.
    """
    ordered = strangers.sort().values
    below = torch.searchsorted(ordered, own)
    not_above = torch.searchsorted(ordered, own, right=True)
    return float((below + not_above).sum()) / (2 * len(own) * len(strangers))
