"""What a network makes of real images before its first update, and whether it can learn from it.

A network stalls when its scores hardly depend on the image: the biases alone decide, every image
gets the same answer, and the loss settles at ln(classes).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cnnlab.models.network import Network
from cnnlab.numerics import check_finite

LEAST_SHARE = 0.015
"""Share of the scores' size that depends on the image, above which networks are known to train.

A rule of thumb between measured cases, docs/papers.md; not a law.
"""

LEAST_SHARE_SQUASHED = 0.005
"""The same for networks of tanh or sigmoid units.

A sigmoid rests at 1/2, so a large part of the scores is constant, and the last biases take it up.
"""

ADAPTIVE_FACTOR = 0.1
"""Times the least share, for update rules that scale each weight's step by its own gradients."""


@dataclass(frozen=True)
class LayerStart:
    """One layer's output at step 0.

    mean and std: over everything. dead_share: of the units that are 0 for every image. signal: how
    much a unit depends on the image, its deviation over images, root mean square over units.
    signal_share: signal over the root mean square of the output.
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
    """All layers at step 0; the last one is the scores."""

    layers: tuple[LayerStart, ...]

    @property
    def score_signal(self) -> float:
        """Return how much the scores depend on the image."""
        return self.layers[-1].signal

    @property
    def score_share(self) -> float:
        """Return which share of the scores' size that is, 0..1."""
        return self.layers[-1].signal_share

    @property
    def can_train(self) -> bool:
        """Return whether the scores depend on the image enough."""
        return self.is_enough()

    def is_enough(self, *, adaptive: bool = False) -> bool:
        """Return the same for an update rule that is `adaptive` or not.

        Scores of a last layer that begins at zero say nothing yet: then what it gets is judged.
        """
        last = self.layers[-1]
        judged = self.layers[-2] if last.dead_share == 1 and len(self.layers) > 1 else last
        return judged.signal_share >= self.least_share(adaptive=adaptive)

    def least_share(self, *, adaptive: bool = False) -> float:
        """Return the share above which networks like this one are known to train."""
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
    """Return what each layer makes of `images`, which are ready for the network.

    images: [N, C, S, S], N at least 2. Dropout is off; weights, mode and random state stay.
    Raises NumericsError where a layer overflows.
    """
    was_training = network.training
    network.eval()
    outputs = network.activations(images)
    network.train(was_training)
    for name, maps in outputs.items():
        check_finite(maps, f"the output of {name} is")
    roles = {layer.name: layer.role for layer in network.layers}
    return InitReport(tuple(_layer(name, roles[name], maps) for name, maps in outputs.items()))


def _layer(name: str, role: str, maps: Tensor) -> LayerStart:
    wide = maps.double().flatten(1)  # [N, units]
    signal = wide.var(0, correction=0).mean().sqrt().item()
    size = wide.square().mean().sqrt().item()
    return LayerStart(
        name=name,
        role=role,
        mean=wide.mean().item(),
        std=wide.std(correction=0).item(),
        dead_share=(wide == 0).all(0).double().mean().item(),
        signal=signal,
        signal_share=signal / size if size else 0.0,
    )
