"""`runtime.fast_evaluation=true`: validation and test computed as the training is."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from cnnlab import compiling
from cnnlab.config import TrainConfig
from cnnlab.errors import UsageError
from cnnlab.evaluation.evaluate import Member
from cnnlab.models import Network
from cnnlab.models.summary import largest_map
from cnnlab.preprocessing import Preprocessing
from cnnlab.runtime import forward_precision
from cnnlab.training.captured import Capture, Captured

EVALUATION_BATCH = 256
"""Images of a batch of evaluation, and crops of a pass on a GPU."""

MOST_CROPS = 16_384
BATCH_BYTES = 256 << 20
"""Of pixels in one batch: several are read ahead."""

_SHARE_OF_MEMORY = 1 / 64
"""Of a GPU, for the network's largest map in one pass; a pass holds few maps at a time. It is a
share of all memory, not of what is free, so that sums are grouped alike in every run."""

Forward = Callable[[Tensor], Tensor]
"""Images, ready for the network, to scores."""


@dataclass
class Evaluating:
    """How a training evaluates. forward_of: makes the forward pass of a network; None: as it is."""

    batch_size: int = EVALUATION_BATCH
    crops_at_once: int | None = None
    forward_of: Callable[[nn.Module], Forward] | None = None
    _forwards: dict[nn.Module, Forward] = field(default_factory=dict)

    def member(self, member: Member) -> Member:
        """Return the member with the forward pass of these evaluations."""
        if self.forward_of is None:
            return member
        model = member.model
        if model not in self._forwards:
            self._forwards[model] = self.forward_of(model)
        crops = self.crops_at_once or member.crops_at_once
        return replace(member, forward=self._forwards[model], crops_at_once=crops)


def evaluating(
    config: TrainConfig,
    network: Network,
    preprocessing: Preprocessing,
    capture: Callable[[], Capture] | None = None,
) -> Evaluating:
    """Return how the training evaluates its network; preprocessing: on the network's device.

    capture: makes what captures computations there; None: nothing is captured. Raises UsageError
    where `runtime.fast_evaluation` changes nothing.
    """
    runtime, device = config.runtime, preprocessing.mean.device
    if not runtime.fast_evaluation:
        return Evaluating()
    if device.type != "cuda" and runtime.precision != "bf16" and not runtime.compile:
        raise UsageError(
            f"runtime.fast_evaluation=true has no effect on {device} in {runtime.precision}",
            hint="leave it out",
        )

    forward_of = _forward_of(config, device, capture() if capture is not None else None)
    if device.type != "cuda":
        return Evaluating(forward_of=forward_of)
    crops = crops_per_pass(network, device)
    side = preprocessing.image_size_pixels
    most_images = BATCH_BYTES // (preprocessing.channels * side * side)
    return Evaluating(max(EVALUATION_BATCH, min(crops, most_images)), crops, forward_of)


def crops_per_pass(network: Network, device: torch.device) -> int:
    """Return how many crops fill a GPU in one pass, at least as many as without."""
    memory = torch.cuda.get_device_properties(device).total_memory
    crops = int(memory * _SHARE_OF_MEMORY) // (4 * largest_map(network))
    return max(EVALUATION_BATCH, min(crops, MOST_CROPS))


def _forward_of(
    config: TrainConfig, device: torch.device, capture: Capture | None
) -> Callable[[nn.Module], Forward]:
    precision = forward_precision(config.runtime.precision, device)
    compute: Callable[[nn.Module, Tensor], Tensor] = _scores
    if config.runtime.compile:
        compute = compiling.explained(compiling.compiled(_scores, keeps_others=True))

    def forward_of(model: nn.Module) -> Forward:
        def forward(images: Tensor) -> Tensor:
            with precision():
                return compute(model, images)

        return forward if capture is None else _captured(forward, capture)

    return forward_of


def _scores(model: nn.Module, images: Tensor) -> Tensor:
    scores: Tensor = model(images)
    return scores


def _captured(forward: Forward, capture: Capture) -> Forward:
    graphs = Captured(lambda images: [forward(images)], capture)

    def replayed(images: Tensor) -> Tensor:
        graphs.prepare(images)
        (scores,) = graphs.run(images)
        return scores.clone()  # the next batch overwrites them

    return replayed
