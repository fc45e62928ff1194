"""Losses summed over images, so that parts of a batch add up to the whole.

A loss takes scores [N,K] (larger is better) and labels [N] int64, and returns a scalar: the sum
over the N images. The training step divides by the number of images of the whole batch.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.config.loss import LOSSES as LOSSES_BY_NAME
from cnnlab.config.loss import DefaultLossConfig, LossConfig
from cnnlab.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
NetworkLoss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(network, images, labels) -> loss summed over the images."""


def cross_entropy(
    scores: Tensor,
    labels: Tensor,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the summed negative log-probability of the labels, in nats, in float32 or better.

    label_smoothing: share of each target that is spread evenly over all classes, 0 in the papers
    (Source: Szegedy et al. 2016, section 7). class_weights: factors [K] of the terms of each class,
    of any dtype, on the device of the scores; none in the papers. Both together as in torch.
    Source: the multinomial logistic objective of Krizhevsky et al. 2012, section 3.5.
    """
    if scores.dtype in HALF_PRECISIONS:
        scores = scores.float()
    if class_weights is not None:
        class_weights = class_weights.to(scores.dtype)
    return F.cross_entropy(
        scores, labels, class_weights, reduction="sum", label_smoothing=label_smoothing
    )


def squared_distance(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the summed distance between F6 and the label's bitmap; scores are minus distances.

    Source: LeCun et al. 1998, equation 8.
    """
    return -scores.gather(1, labels[:, None]).sum()


RUBBISH_DISTANCE = 10.0
"""j of equation 9, the distance to the rubbish class; the paper prints no value for it."""


def discriminative_distance(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of y_label + log(e^-j + sum_i e^-y_i), which also pushes other classes away.

    y are the distances, e^-j is the rubbish class; without it this is the scores' cross-entropy.
    Source: LeCun et al. 1998, equation 9.
    """
    rubbish = scores.new_full((len(scores), 1), -RUBBISH_DISTANCE)
    totals = torch.logsumexp(torch.cat([scores, rubbish], 1), 1)
    return squared_distance(scores, labels) + totals.sum()


HALF_PRECISIONS = (torch.bfloat16, torch.float16)

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "squared_distance": squared_distance,
    "discriminative_distance": discriminative_distance,
}


def build(name: str, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Loss:
    """Return the loss called `name`; raise UsageError for an unknown one.

    label_smoothing, class_weights: of the cross-entropy alone; `check_loss` refuses them for the
    others.
    """
    if name not in LOSSES:
        raise UsageError(f"there is no loss {name!r}", hint=f"one of {', '.join(LOSSES)}")
    if not label_smoothing and class_weights is None:
        return LOSSES[name]

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(scores, labels, label_smoothing, class_weights)

    return loss


def build_default(
    config: DefaultLossConfig,
    name: str = "cross_entropy",
    class_weights: Tensor | None = None,
) -> Loss:
    """Return the loss of a model, called `name`, with the settings of `loss=default`."""
    return build(name, config.label_smoothing, class_weights)


def sum_of(config: LossConfig) -> Loss:
    """Return a loss of somebody's own, summed over the images.

    It gets scores in float32 or better. Raises UsageError where it does not return one number per
    image: a mean would weigh the parts of a batch wrongly.
    """
    losses_of = LOSSES_BY_NAME[config.name].load()(config)

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        values: Tensor = losses_of(
            scores.float() if scores.dtype in HALF_PRECISIONS else scores, labels
        )
        if values.shape != labels.shape:
            raise UsageError(
                f"loss '{config.name}' returns {list(values.shape)} for {len(labels)} images",
                hint=f"it returns the loss of each image, [{len(labels)}], without a mean or a sum",
            )
        return values.sum()

    return loss


def of_network(loss: Loss) -> NetworkLoss:
    """Return the forward pass and `loss` as one function, which can be compiled as one graph."""

    def network_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return loss(network(images), labels)

    return network_loss
