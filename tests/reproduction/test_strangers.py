"""How well a network's certainty tells digits from what is no digit."""

import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from cnnlab.models.network import Network
from cnnlab.reproduction.strangers import area_under_curve, certainty


def by_pairs(own: Tensor, strangers: Tensor) -> float:
    """The obvious version: every pair is looked at."""
    won = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, other in itertools.product(own.tolist(), strangers.tolist())
    ]
    return sum(won) / len(won)


@pytest.mark.parametrize("levels", [3, 1000])  # many equal values, and hardly any
def test_the_area_is_the_share_of_pairs_in_which_the_own_image_is_more_certain(levels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.randint(levels, (37,), generator=generator).double()
    strangers = torch.randint(levels, (23,), generator=generator).double() - 1
    assert area_under_curve(own, strangers) == pytest.approx(by_pairs(own, strangers), abs=1e-12)


def test_the_area_is_one_if_all_are_told_apart_half_by_chance_and_zero_the_wrong_way() -> None:
    low, high = torch.tensor([-3.0, -torch.inf]), torch.tensor([1.0, 2.0])
    assert area_under_curve(high, low) == 1
    assert area_under_curve(low, high) == 0
    assert area_under_curve(high, high) == 0.5


def network_with(role: str) -> Network:
    return cast(Any, SimpleNamespace(layers=[SimpleNamespace(role=role)]))


def test_certainty_of_distances_is_the_smallest_one() -> None:
    scores = -torch.tensor([[3.0, 40.0, 50.0], [30.0, 31.0, 200.0]])
    assert certainty(network_with("rbf"), scores).tolist() == [-3, -30]


def test_certainty_of_softmax_is_in_the_order_of_the_largest_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(50, 10, generator=generator, dtype=torch.float64)
    found = certainty(network_with("fc"), scores)
    assert torch.equal(found.argsort(), scores.softmax(1).amax(1).argsort())

    # both probabilities round to 1
    sure, surer = certainty(network_with("fc"), torch.tensor([[60.0, 0.0], [80.0, 0.0]])).tolist()
    assert sure < surer
