"""Timing in turns: A B, B A, A B ...; what is compared are ratios within a round."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from head import ratios, spread, turns
from loops import busy_loops
from work import CPU, Advance, clock, synchronize

from cnnlab.trainer.throughput import MATRIX_SIDE, random_matrices

Action = Callable[[], object]

TOLERANCE = 1e-4
"""Relative difference of losses up to which two loops count as the same work."""


@dataclass(frozen=True)
class Comparison:
    """Seconds per step of each loop, round by round; how far its first losses are from ours.

    beside_loop: the same beside one busy loop; None: not measured.
    """

    seconds: dict[str, list[float]]
    loss_difference: dict[str, float]
    beside_loop: dict[str, list[float]] | None = None

    def row(self, name: str, ours: str, batch_size: int) -> dict[str, Any]:
        """Return the figures of one loop as plain JSON."""
        row = {
            **_rates(self.seconds, name, ours, batch_size),
            "first_losses_relative_difference": self.loss_difference[name],
        }
        if self.beside_loop is not None:
            row["beside_a_busy_loop"] = _rates(self.beside_loop, name, ours, batch_size)
        return row


def _rates(
    seconds: dict[str, list[float]], name: str, ours: str, batch_size: int
) -> dict[str, Any]:
    median_seconds = statistics.median(seconds[name])
    return {
        "images_per_second": batch_size / median_seconds,
        "milliseconds_per_step": 1e3 * median_seconds,
        "ratio_to_ours": spread(ratios(seconds[name], seconds[ours])),
    }


def seconds(action: Action, repeats: int, device: torch.device = CPU) -> float:
    """Return the wall-clock seconds of one call on `device`, the mean of `repeats` in a row."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        action()
    synchronize(device)
    return (time.perf_counter() - started) / repeats


def times_in_turns(
    actions: dict[str, Action], rounds: int, repeats: int, device: torch.device = CPU
) -> dict[str, list[float]]:
    """Return the microseconds of each action, round by round.

    The first round is not counted, nor a call before each block, which refills the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for order in turns(actions, rounds + 1):
        for name in order:
            actions[name]()
            times[name].append(1e6 * seconds(actions[name], repeats, device))
    return {name: found[1:] for name, found in times.items()}


def compare(
    loops: Mapping[str, Advance],
    *,
    num_steps: int,
    rounds: int,
    same_losses: int = 20,
    busy: bool = False,
) -> Comparison:
    """Compare `same_losses` first losses, then time `rounds` rounds of `num_steps` steps of each.

    busy: also beside one busy loop, a third of the rounds and a sixth of the steps, since some
    loops are twenty times as slow there. Raises ValueError when a loop's first losses differ from
    those of the first loop: then the two do not do the same work.
    """
    names = list(loops)
    first = {name: loops[name](same_losses)[1][:same_losses] for name in names}
    difference = {name: _distance(losses, first[names[0]]) for name, losses in first.items()}
    for name, distance in difference.items():
        if distance > TOLERANCE:
            raise ValueError(f"{name} computes other losses: {distance:.1e} relative; {first}")

    seconds, beside_loop = _timed(loops, num_steps, rounds), None
    if busy:
        with busy_loops(1):
            beside_loop = _timed(loops, max(1, num_steps // 6), max(3, rounds // 3))
    return Comparison(seconds, difference, beside_loop)


def _timed(loops: Mapping[str, Advance], num_steps: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds per step of each loop, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for order in turns(loops, rounds):
        for name in order:
            seconds[name].append(loops[name](num_steps)[0] / num_steps)
    return seconds


def compared_loops(
    loops: Mapping[str, Advance],
    *,
    batch_size: int,
    flop_per_image: float,
    num_steps: int,
    rounds: int,
    device: torch.device,
    same_losses: int = 20,
) -> dict[str, Any]:
    """Compare the loops and return a row for each, as plain JSON; the first one is ours."""
    comparison = compare(
        loops,
        num_steps=num_steps,
        rounds=rounds,
        same_losses=same_losses,
        busy=device.type == "cpu" and torch.get_num_threads() > 1,  # by the wall clock
    )
    limit = matrix_limit(device)

    ours = next(iter(loops))
    rows = {name: comparison.row(name, ours, batch_size) for name in loops}
    for figures in rows.values():
        flop_per_second = figures["images_per_second"] * flop_per_image
        figures["share_of_matrix_limit"] = flop_per_second / limit

    return {
        "batch_size": batch_size,
        "device": str(device),
        "num_threads": torch.get_num_threads(),
        "steps_per_round": num_steps,
        "rounds": rounds,
        "matrix_limit_gflops": limit / 1e9,
        "rows": rows,
    }


def _distance(losses: list[float], expected: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))


def matrix_limit(device: torch.device, repeats: int = 5) -> float:
    """Return the device's best float32 matrix product in FLOP/s, with the present threads."""
    size = MATRIX_SIDE[device.type]
    a, b = random_matrices(device, size, torch.float32)
    best = float("inf")
    for _ in range(repeats):
        started = clock(device)
        a @ b
        best = min(best, clock(device) - started)
    return 2 * size**3 / best
