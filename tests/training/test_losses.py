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


@pytest.mark.parametrize("smoothing", [0.05, 0.5])
def test_smoothed_labels_are_spread_evenly_over_all_classes(smoothing: float) -> None:
    """The obvious version: -sum_k t_k log p_k with t = (1 - e) onehot + e / K; and torch's."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 1, 0])
    expected = 0.0
    for row, label in zip(scores, labels.tolist(), strict=True):
        for k in range(3):
            target = (1 - smoothing) * (k == label) + smoothing / 3
            expected += target * softmax_loss(row.tolist(), k)

    found = losses.build("cross_entropy", smoothing)(scores, labels)

    torchs = torch.nn.CrossEntropyLoss(reduction="sum", label_smoothing=smoothing)
    assert float(found) == pytest.approx(float(expected), rel=1e-13)
    assert float(found) == pytest.approx(float(torchs(scores, labels)), rel=1e-15)


def test_without_smoothing_the_loss_is_the_function_itself() -> None:
    assert losses.build("cross_entropy", 0.0) is losses.cross_entropy
