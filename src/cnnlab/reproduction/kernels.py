"""How many kernels of a trained first layer hardly answer to any image."""

import torch

from cnnlab.eval_mode import eval_mode
from cnnlab.inference.datasets import split_of
from cnnlab.inference.network import open_network
from cnnlab.reproduction.measure import Arm
from cnnlab.reproduction.plan import PlannedRun
from cnnlab.run_folder import resolve_checkpoint

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
