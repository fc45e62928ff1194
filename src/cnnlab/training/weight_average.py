"""The exponential moving average (EMA) of the weights, updated after every update of a network."""

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from cnnlab.runtime import to_device
from cnnlab.training.loop import Step, StepReport, TrainState

Trained = TypeVar("Trained", bound=nn.Module)


class WeightAverage(Generic[Trained]):
    """A second network, whose weights follow those of the trained one.

    After the first update they are its weights, after each further one
    `decay * average + (1 - decay) * weights`; buffers, the statistics of batch normalization among
    them, are copied. A skipped update changes nothing. That is what
    torch.optim.swa_utils.AveragedModel computes with get_ema_multi_avg_fn, bit for bit; its
    `update_parameters` is not used, since it waits for a GPU at every call and cannot skip.

    network: in eval mode, on the devices of the trained one. num_updates: so far. view: network ->
    the part of it that this process trains, in the same storage; the rest is not followed.
    """

    def __init__(
        self,
        trained: Trained,
        decay: float,
        view: Callable[[Trained], Trained] = lambda whole: whole,
    ) -> None:
        self.network = copy.deepcopy(trained).requires_grad_(False).eval()
        self.num_updates = 0
        self._trained, self._decay = trained, decay

        # those of one device and type are updated at once
        self._followed: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]]
        self._followed = defaultdict(lambda: ([], []))
        views = (view(self.network).parameters(), view(trained).parameters())
        for average, weight in zip(*views, strict=True):
            averages, weights = self._followed[average.device, average.dtype]
            averages.append(average)
            weights.append(weight)

    def restart(self) -> None:
        """Begin once more, with the weights as they are now."""
        self.network.load_state_dict(self._trained.state_dict())
        self.num_updates = 0

    @torch.no_grad()
    def update(self, found_inf: Tensor) -> None:
        """Follow an update that was made; found_inf: 1 where it was skipped, on any device."""
        for (device, dtype), (averages, weights) in self._followed.items():
            if self.num_updates == 0:  # a skipped first update has left both as they were, equal
                torch._foreach_copy_(averages, weights)
                continue
            # on a GPU the host does not know whether the update was skipped, and does not ask
            share = (1 - self._decay) * (1 - to_device(found_inf, device).to(dtype))
            torch._foreach_lerp_(averages, weights, [share] * len(averages))

        for average, buffer in zip(self.network.buffers(), self._trained.buffers(), strict=True):
            skipped = to_device(found_inf, buffer.device) != 0
            average.copy_(torch.where(skipped, average, buffer))
        self.num_updates += 1


class AveragingStep:
    """Make updates by `step`, each followed by the average."""

    def __init__(self, step: Step, average: WeightAverage[Any]) -> None:
        self._step, self._average = step, average

    def __call__(self, state: TrainState, images: Tensor, labels: Tensor) -> StepReport:
        """Update the network of `state`, then its average."""
        report = self._step(state, images, labels)
        self._average.update(state.optimizer.found_inf)  # type: ignore[attr-defined]
        return report
