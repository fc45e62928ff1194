"""Statistics of each layer on real images before training, and whether the network can learn.

Training stalls when the scores hardly depend on the image: the biases alone decide, every image
gets the same prediction, and the loss stays at ln(classes).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cnnlab.models.batch_norm import statistics_of_the_batch
from cnnlab.models.network import Network
from cnnlab.mps import widest_float
from cnnlab.numerics import check_finite

LEAST_SHARE = 0.015
"""Smallest signal_share of the scores with which networks are known to train.

A rule of thumb between measured cases, docs/papers.md; not a law.
"""

LEAST_SHARE_SQUASHED = 0.005
"""The same for networks of tanh or sigmoid units.

A sigmoid outputs 1/2 at 0, so a large part of the scores is constant; the last biases cancel it.
"""

ADAPTIVE_FACTOR = 0.1
"""Factor on the smallest share for adaptive optimizers, which scale each weight's step."""


@dataclass(frozen=True)
class LayerStart:
    """One layer's output at step 0.

    mean and std: over images and units. dead_share: fraction of units that are 0 for every image.
    signal: how much a unit depends on the image, i.e. its standard deviation over images, root mean
    square over units. signal_share: signal divided by the root mean square of the output.
    """

    name: str
    role: str
    mean: float
    std: float
    dead_share: float
    signal: float
    signal_share: float


@dataclass(frozen=True)
class InitReport:
    """All layers at step 0; the last one gives the scores."""

    layers: tuple[LayerStart, ...]

    @property
    def score_signal(self) -> float:
        """Return how much the scores depend on the image."""
        return self.layers[-1].signal

    @property
    def score_share(self) -> float:
        """Return `score_signal` as a share of the root mean square of the scores, 0..1."""
        return self.layers[-1].signal_share

    @property
    def can_train(self) -> bool:
        """Return whether the scores depend on the image enough for plain SGD."""
        return self.is_enough()

    def is_enough(self, *, adaptive: bool = False) -> bool:
        """Return whether the scores depend on the image enough, for adaptive optimizers or others.

        Where the last layer is initialized to zero, its input is examined instead.
        """
        last = self.layers[-1]
        judged = self.layers[-2] if last.dead_share == 1 and len(self.layers) > 1 else last
        return judged.signal_share >= self.least_share(adaptive=adaptive)

    def least_share(self, *, adaptive: bool = False) -> float:
        """Return the smallest `score_share` with which such networks are known to train."""
        squashed = any(layer.role == "squash" for layer in self.layers)
        least = LEAST_SHARE_SQUASHED if squashed else LEAST_SHARE
        return least * (ADAPTIVE_FACTOR if adaptive else 1)

    @property
    def dead_layer(self) -> str | None:
        """Return the first hidden layer whose units are all 0 for every image, if there is one."""
        return next((layer.name for layer in self.layers[:-1] if layer.dead_share == 1), None)

    def as_document(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return {
            "score_signal": self.score_signal,
            "score_share": self.score_share,
            "can_train": self.can_train,
            "layers": [asdict(layer) for layer in self.layers],
        }


@torch.no_grad()
def report_start(network: Network, images: Tensor) -> InitReport:
    """Return statistics of each layer's output for normalized `images`.

    images: [N, C, S, S], N at least 2. Dropout is off, batch normalization sees these images, as in
    training; nothing of the network changes.
    Raises NumericsError where a layer overflows.
    """
    was_training = network.training
    network.eval()
    with statistics_of_the_batch(network):
        outputs = network.activations(images)
    network.train(was_training)
    for name, maps in outputs.items():
        check_finite(maps, f"the output of {name} is")
    roles = {layer.name: layer.role for layer in network.layers}
    return InitReport(tuple(_layer(name, roles[name], maps) for name, maps in outputs.items()))


def _layer(name: str, role: str, maps: Tensor) -> LayerStart:
    wide = maps.to(widest_float(maps.device)).flatten(1)  # [N, units]
    signal = wide.var(0, correction=0).mean().sqrt().item()
    size = wide.square().mean().sqrt().item()

    return LayerStart(
        name=name,
        role=role,
        mean=wide.mean().item(),
        std=wide.std(correction=0).item(),
        dead_share=(wide == 0).all(0).to(wide.dtype).mean().item(),
        signal=signal,
        signal_share=signal / size if size else 0.0,
    )
