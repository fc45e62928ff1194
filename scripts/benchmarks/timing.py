"""Interleaved timing: A B C A B C ..., ratios within a round, their median and spread."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from work import Advance, clock

Action = Callable[[], object]

TOLERANCE = 1e-4
"""Relative difference of losses up to which work counts as the same."""


@dataclass(frozen=True)
class Comparison:
    """Seconds a step of each peer, round by round, and how far its first losses were from ours."""

    seconds: dict[str, list[float]]
    loss_difference: dict[str, float]
    num_steps: int

    def ratio(self, peer: str, ours: str) -> dict[str, float]:
        """Return median, least and largest of (time of `peer`) / (time of `ours`) over rounds."""
        pairs = zip(self.seconds[peer], self.seconds[ours], strict=True)
        return spread([theirs / own for theirs, own in pairs])

    def best_seconds(self, peer: str) -> float:
        """Return the fastest round's seconds a step: what the machine allows."""
        return min(self.seconds[peer])

    def median_seconds(self, peer: str) -> float:
        """Return the median round's seconds a step."""
        return statistics.median(self.seconds[peer])


def spread(ratios: list[float]) -> dict[str, float]:
    """Return median, least and largest."""
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def ratio_of_pairs(ones: list[float], others: list[float]) -> dict[str, Any]:
    """Return the median and the quartiles of one / other over rounds.

    Short neighbours in time see the same machine, whose speed drifts by the second.
    """
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": middle, "quartiles": [low, high]}


def seconds(action: Action, repeats: int) -> float:
    """Return the wall-clock seconds that one call takes, over `repeats` in a row."""
    started = time.perf_counter()
    for _ in range(repeats):
        action()
    return (time.perf_counter() - started) / repeats


def times_in_turns(actions: dict[str, Action], rounds: int, repeats: int) -> dict[str, list[float]]:
    """Return the microseconds of each action, round by round.

    A first round does not count, nor a call before each block that brings memory back.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(rounds + 1):
        for name in list(actions)[:: 1 if index % 2 else -1]:
            actions[name]()
            times[name].append(1e6 * seconds(actions[name], repeats))
    return {name: found[1:] for name, found in times.items()}


def rounds_and_threads(description: str | None, rounds: int) -> argparse.Namespace:
    """Read --rounds and --threads from the command line, and give torch its threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def compare(
    loops: Mapping[str, Advance], *, num_steps: int, rounds: int, same_losses: int = 20
) -> Comparison:
    """Compare `same_losses` first losses, then time `rounds` rounds of `num_steps` steps of each.

    Raises ValueError when a loop's first losses are not those of the first loop: then the work
    is not the same.
    """
    names = list(loops)
    first = {name: loops[name](same_losses)[1][:same_losses] for name in names}
    difference = {name: _distance(losses, first[names[0]]) for name, losses in first.items()}
    for name, far in difference.items():
        if far > TOLERANCE:
            raise ValueError(f"{name} computes other losses: {far:.1e} relative; {first}")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        order = names if index % 2 == 0 else names[::-1]
        for name in order:
            seconds[name].append(loops[name](num_steps)[0] / num_steps)
    return Comparison(seconds, difference, num_steps)


def _distance(losses: list[float], expected: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))


def matrix_limit(size: int = 1024, repeats: int = 5) -> float:
    """Return the machine's best float32 matrix product in FLOP/s, with the threads in force."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats):
        started = clock()
        a @ b
        best = min(best, clock() - started)
    return 2 * size**3 / best


def row(comparison: Comparison, name: str, ours: str, images_per_step: int) -> dict[str, Any]:
    """Return the figures of one peer as plain JSON."""
    return {
        "images_per_second": images_per_step / comparison.median_seconds(name),
        "milliseconds_per_step": 1e3 * comparison.median_seconds(name),
        "ratio_to_ours": comparison.ratio(name, ours),
        "first_losses_relative_difference": comparison.loss_difference[name],
    }
