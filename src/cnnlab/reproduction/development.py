"""How early a layer is what it will be: checkpoints that a run has kept, against its last one."""

import torch
from torch import Tensor

from cnnlab.errors import DataError
from cnnlab.eval_mode import eval_mode
from cnnlab.inference.network import open_network
from cnnlab.models.network import Network
from cnnlab.mps import widest_float
from cnnlab.reproduction.choosing import PlannedRun
from cnnlab.reproduction.looking import of_each_run, opened, probe
from cnnlab.reproduction.measure import Arm
from cnnlab.run_folder import names
from cnnlab.visualization.layer_access import each_layer, flatten_positions, layers_with
from cnnlab.visualization.probe import Probe, in_parts

NUM_IMAGES = 512
"""Test images that the units answer to, as many of each class."""


def late_features(arm: Arm) -> list[float]:
    """Return of each run how much more its first convolution is like its end than its last one is.

    The likeness of a layer at a checkpoint is the mean over units of the correlation, over images,
    of a unit's strongest activation with that at the last checkpoint; of both layers the mean over
    all checkpoints before the last is taken. Above zero: the last convolution is formed later.
    A deep layer changes with all layers below it, as it does in the source: Zeiler and Fergus 2014,
    section 4.1 and figure 4, which shows projections without a measure.
    """
    return of_each_run(arm, "late", _late)


def _late(arm: Arm, run: PlannedRun) -> float:
    files = names.kept(run.folder.checkpoints)
    if len(files) < 3:
        raise DataError("the run has kept too few checkpoints", str(run.path))

    seen = probe(opened(arm, run), run, NUM_IMAGES)
    moments = [_answers(open_network(path, arm.here.device).network, seen) for path in files]
    *before, end = moments
    first, last = ([likeness(one[at], end[at]) for one in before] for at in (0, 1))
    return sum(first) / len(first) - sum(last) / len(last)


@torch.no_grad()
def _answers(network: Network, seen: Probe) -> tuple[Tensor, Tensor]:
    """Return the strongest activation of each unit for each image, [N,K], of both layers."""
    convolutions = layers_with(network, "conv")
    wanted = (convolutions[0].name, convolutions[-1].name)
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}
    with eval_mode(network):
        for part in in_parts(len(seen.images), seen.batch_size):
            for layer, maps in each_layer(network, seen.normalize(seen.images[part])):
                if layer.name in found:
                    found[layer.name].append(flatten_positions(maps).amax(2))
    first, last = (torch.cat(found[name]) for name in wanted)
    return first, last


def likeness(answers: Tensor, end: Tensor) -> float:
    """Return the mean over units of the correlation of their answers [N,K] at two moments.

    A unit that answers to all images alike at one of the moments counts 0.
    """
    wide = widest_float(answers.device)
    one, other = (part.to(wide) - part.to(wide).mean(0) for part in (answers, end))
    norms = one.norm(dim=0) * other.norm(dim=0)
    together = (one * other).sum(0)
    return float(torch.where(norms > 0, together / norms.clamp_min(1e-300), 0.0).mean())
