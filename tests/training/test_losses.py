"""Losses are sums over images."""

import pytest
import torch

from cnnlab.errors import UsageError
from cnnlab.training import losses
from tests.reference.training import softmax_loss


def test_cross_entropy_is_the_sum_over_images() -> None:
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1, 0])
    expected = sum(
        softmax_loss(row.tolist(), int(k)) for row, k in zip(scores, labels, strict=True)
    )
    assert float(losses.cross_entropy(scores, labels)) == pytest.approx(expected, rel=1e-13)


def test_half_precision_scores_are_summed_in_float32() -> None:
    scores = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(7) % 4
    loss = losses.cross_entropy(scores, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, losses.cross_entropy(scores.float(), labels))


def test_unknown_loss_names_the_known() -> None:
    with pytest.raises(UsageError, match="cross_entropy"):
        losses.build("hinge")
