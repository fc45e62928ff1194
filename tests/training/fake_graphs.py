"""A stand-in for CUDA graphs: it repeats a computation on the memory it was captured on.

Like a graph it computes nothing while it captures, leaves its results undefined until it is
replayed, puts them where they were when it captured, and knows no number but those it captured:
what Python decided then, a rate for example, is decided for good.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer


class FakeGraphs:
    """Captures computations that change `changed()`, and nothing else, besides their results.

    optimizer: whose rates are numbers of a graph; None: it has none.
    """

    def __init__(
        self, changed: Callable[[], Iterable[Tensor]], optimizer: Callable[[], Optimizer] | None
    ) -> None:
        self._changed, self._optimizer = changed, optimizer
        self.num_captures = self.num_replays = 0

    def __call__(
        self, compute: Callable[[], Sequence[Tensor]]
    ) -> tuple[Sequence[Tensor], Callable[[], None]]:
        """Capture `compute`, as `captured.Capture` says."""
        self.num_captures += 1
        rates = self._rates()
        kept = [(tensor, tensor.clone()) for tensor in self._changed()]
        results = [result.detach() for result in compute()]

        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
            for result in results:
                result.fill_(float("nan"))

        def replay() -> None:
            self.num_replays += 1
            with self._with_rates(rates):
                again = compute()
            with torch.no_grad():
                for result, value in zip(results, again, strict=True):
                    result.copy_(value)

        return results, replay

    def _rates(self) -> list[float]:
        groups = self._optimizer().param_groups if self._optimizer else []
        return [group["lr"] for group in groups]

    def _with_rates(self, rates: list[float]) -> "_Rates":
        return _Rates(self._optimizer().param_groups if self._optimizer else [], rates)


class _Rates:
    """Gives groups other rates for a block."""

    def __init__(self, groups: list[dict[str, float]], rates: list[float]) -> None:
        self._groups, self._rates = groups, rates
        self._before: list[float] = []

    def __enter__(self) -> None:
        self._before = [group["lr"] for group in self._groups]
        for group, rate in zip(self._groups, self._rates, strict=True):
            group["lr"] = rate

    def __exit__(self, *_: object) -> None:
        for group, rate in zip(self._groups, self._before, strict=True):
            group["lr"] = rate
