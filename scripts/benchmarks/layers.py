"""LeNet-5's first layers one by one and fused (cpu/fusion.py): the parts, and whole steps."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from head import answer, options, parse, quartiles, ratios
from lenet import SETTINGS
from timing import Action, times_in_turns
from torch import Tensor, nn
from torch.nn import functional as F
from work import our_parts

from cnnlab.cpu import fusion


def in_turn(maps: Tensor, modules: list[nn.Module]) -> Tensor:
    """Apply the modules one after the other."""
    for module in modules:
        maps = module(maps)
    return maps


def forward_and_back(
    compute: Callable[[Tensor, list[nn.Module]], Tensor], maps: Tensor, modules: list[nn.Module]
) -> tuple[Action, Action]:
    """Return a forward pass, and a backward pass to the weights (and to maps that need one)."""
    result = compute(maps, modules)
    gradient = torch.randn_like(result)
    wanted = [*modules[0].parameters(), *([maps] if maps.requires_grad else [])]

    def back() -> object:
        return torch.autograd.grad(result, wanted, gradient, retain_graph=True)

    return lambda: compute(maps, modules), back


def parts(batch_size: int) -> dict[str, Action]:
    """Return C1 with S2 and ReLU, and C3, forward and backward, one by one and fused."""
    last = torch.channels_last
    c1 = [nn.Conv2d(1, 6, 5).to(memory_format=last), nn.MaxPool2d(2), nn.ReLU()]
    c3: list[nn.Module] = [nn.Conv2d(6, 16, 5).to(memory_format=last)]
    images = torch.randn(batch_size, 32, 32, 1).permute(0, 3, 1, 2)
    maps = torch.randn(batch_size, 6, 14, 14)
    maps_last = maps.contiguous(memory_format=last).requires_grad_()
    pairs = {
        "C1, S2, ReLU in turn": forward_and_back(in_turn, images, c1),
        "C1, S2, ReLU together": forward_and_back(fusion.convolve_pool_rectify, images, c1),
        "C3 in turn": forward_and_back(in_turn, maps_last, c3),
        "C3 together": forward_and_back(fusion.convolve_few_maps, maps.requires_grad_(), c3),
    }
    ways = {f"{name}, forward": forward for name, (forward, _) in pairs.items()}
    return ways | {f"{name}, back": back for name, (_, back) in pairs.items()}


def step(batch_size: int, fused: bool) -> Action:
    """Return a bare training step of cnnlab's network, with the layers one by one or fused."""
    assembly = our_parts(*SETTINGS, f"trainer.batch_size={batch_size}")
    network, optimizer, batches = assembly.network, assembly.optimizer, assembly.batches()
    network.train()

    def advance() -> None:
        fusion.is_faster_for = lambda images: fused
        images, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return advance


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median round of each action."""
    return {name: statistics.median(found) for name, found in times.items()}


def compare_steps(batch_size: int, rounds: int) -> dict[str, Any]:
    """Return microseconds per step both ways, and their ratio over pairs of eight steps."""
    ways = {
        "in turn": step(batch_size, fused=False),
        "together": step(batch_size, fused=True),
    }
    times = times_in_turns(ways, rounds, 8)
    return medians(times) | {"ratio": quartiles(ratios(times["in turn"], times["together"]))}


def main() -> None:
    given = parse(options(__doc__, rounds=9, threads=True))
    found: dict[str, Any] = {"num_threads": given.threads, "rounds": given.rounds}
    for size in (64, 128):
        found[f"step of {size}"] = compare_steps(size, 15 * given.rounds)
    # After the steps, whose set-up makes the process keep its freed memory, as in training.
    times = times_in_turns(parts(64), given.rounds, 50)
    found["parts"] = medians(times)
    answer("layers", found)


if __name__ == "__main__":
    main()
