"""A checkpoint's description is a stranger's word: what it asks for is bounded by what it holds."""

import pytest
import torch

from cnnlab.config import choices
from cnnlab.errors import UsageError
from cnnlab.inference import network as stored_network

NETWORKS = choices.choices("model")
USUAL = {"in_channels": 3, "input_size_pixels": 96, "num_classes": 10}
FORGED = 7 * 10**5


def described(network: str, sizes: dict[str, int]) -> dict[str, object]:
    settings = choices.alone("model", network)
    return {"config": {"model": settings}, "model": sizes}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("forged", sorted(USUAL))
def test_forged_sizes_ask_for_no_memory(network: str, forged: str) -> None:
    sizes = USUAL | {forged: FORGED}
    with (
        pytest.raises((ValueError, UsageError)),
        stored_network._NothingLargerThan(10),
    ):
        stored_network._network(described(network, sizes))


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(3000, 3000),
        lambda: torch.zeros((3000, 3000)),
        lambda: torch.full(size=(3000, 3000), fill_value=1.0),
        lambda: torch.zeros(2).new_ones([3000, 3000]),
        lambda: torch.nn.Linear(3000, 3000),
        lambda: torch.nn.Conv2d(3000, 3000, 1),
    ],
)
def test_what_is_larger_than_the_file_is_refused_before_it_is_made(make) -> None:
    with (
        pytest.raises(ValueError, match="9,000,000 values, which the file lacks"),
        stored_network._NothingLargerThan(8_999_999),
    ):
        make()
    with stored_network._NothingLargerThan(9_000_000):
        make()
