"""The kernels of a trained first layer: how many are dead, and where the colored ones are."""

import torch
from torch import Tensor

from cnnlab.eval_mode import eval_mode
from cnnlab.inference.datasets import split_of
from cnnlab.inference.network import open_network
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.measure import Arm
from cnnlab.run_folder import resolve_checkpoint
from cnnlab.runtime import make_generator

NUM_IMAGES = 512
"""Test images that the kernels are shown: the first ones."""


def dead_kernels(arm: Arm) -> list[float]:
    """Return of each run the share of the first layer's kernels that are dead, 0..1.

    A kernel is dead if its strongest response to any image, anywhere, is less than `target` times
    the strongest response of all kernels; biases count, as they do in the network.
    Source: Zeiler and Fergus 2014, figure 6, which shows dead kernels without defining them.
    """
    assert arm.target is not None
    return [_dead(run, arm.target, arm.here.device) for run in arm.runs]


@torch.no_grad()
def _dead(run: PlannedRun, target: float, device: torch.device) -> float:
    stored = open_network(resolve_checkpoint(run.path), device)
    store = split_of(run.config.dataset, "test")
    some = torch.arange(min(NUM_IMAGES, len(store)))
    pixels = store.read(some).permute(0, 3, 1, 2).to(device)
    images = stored.preprocessing.normalize(stored.preprocessing.prepare(pixels))

    first = next(layer for layer in stored.network.layers if layer.role == "conv")
    with eval_mode(stored.network):
        maps = stored.network.activations(images)[first.name]
    strongest = maps.clamp_min(0).amax((0, 2, 3))
    return float((strongest < target * strongest.max()).float().mean())


NUM_SPLITS = 1000
"""Random halves that the two towers are compared with."""


def tower_color(arm: Arm) -> list[float]:
    """Return of each run how much more the towers differ in color than random halves do.

    The chroma of a kernel is the share of its norm that is not gray, 0..1. The figure is the
    absolute difference of the towers' mean chromas minus its mean over random halves of the
    kernels, so that it is about zero where color has nothing to do with towers.
    Source: Krizhevsky et al. 2012, section 6.1 and figure 3; the measure is ours.
    """
    found = []
    for run in arm.runs:
        network = open_network(resolve_checkpoint(run.path), arm.here.device).network
        first = next(layer for layer in network.layers if layer.role == "conv")
        found.append(color_split(dict(first.module.named_parameters())["weight"].detach().cpu()))
    return found


def color_split(kernels: Tensor) -> float:
    """Return the figure of `tower_color` for kernels [N,3,h,w]; the first half is one tower's."""
    gray = kernels.mean(1, keepdim=True).expand_as(kernels)
    norm = kernels.flatten(1).norm(dim=1).clamp_min(1e-12)
    chroma = (kernels - gray).flatten(1).norm(dim=1) / norm

    half, generator = len(chroma) // 2, make_generator(0, "tower_color")
    orders = [torch.randperm(len(chroma), generator=generator) for _ in range(NUM_SPLITS)]
    by_chance = torch.stack([_apart(chroma[order], half) for order in orders])
    return float(_apart(chroma, half) - by_chance.mean())


def _apart(chroma: Tensor, half: int) -> Tensor:
    return (chroma[:half].mean() - chroma[half:].mean()).abs()
