"""Time a top-9 page against its parts: one forward pass over a set, and 144 projections.

usage: python scripts/benchmarks/top9.py [MODEL] [LAYER] [NUM_IMAGES] [CHANNELS] [SIDE_PIXELS]
Random weights and random pixels, made batch by batch; prints seconds of processor time (run it
with OMP_NUM_THREADS=1) and the process's largest memory.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cnnlab import models
from cnnlab.config import choices
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.models import Network
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.figures import render
from cnnlab.visualization.layer_access import maps_at
from cnnlab.visualization.probe import ImageSet, Probe
from cnnlab.visualization.projections import draw_top9

NUM_UNITS, NUM_BEST, BATCH = 16, 9, 48


def main(
    model: str = "lenet5",
    layer: str = "c3",
    num_images: str = "10000",
    channels: str = "1",
    side: str = "32",
) -> None:
    """Print the figures of one model."""
    config = parse(ModelConfig, choices.alone("model", model))
    shape = {"in_channels": int(channels), "input_size_pixels": int(side)}
    network = models.build(config, **shape, num_classes=10, seed=0).eval()
    noise = noise_set(int(num_images), int(channels), int(side))
    probe = Probe(
        images=noise.read(torch.arange(1)),
        labels=None,
        class_names=(),
        normalize=lambda images: (images.float() - 127.5) / 64,
        image_set=noise,
        layer=layer,
        num_units=NUM_UNITS,
        batch_size=BATCH,
    )
    forward = seconds(lambda: pass_over(network, probe, noise, layer))
    projecting = seconds(lambda: project_all(network, probe, noise, layer))
    whole = seconds(lambda: draw_top9(network, probe))
    drawing = seconds(lambda: render(draw_top9(network, probe)[0], "png")) - whole
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{model} {layer}, {num_images} images, {NUM_UNITS * NUM_BEST} projections")
    print(f"forward pass {forward:.2f} s, projections {projecting:.2f} s")
    print(f"top-9 page {whole:.2f} s: {whole / (forward + projecting):.2f} of their sum")
    print(f"writing the PNG {drawing:.2f} s more; largest memory {megabytes:.0f} MB")


def noise_set(num_images: int, channels: int, side: int) -> ImageSet:
    """Return random images that depend on their index alone and are never held together."""

    def read(indices: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(indices[0]))
        shape = (len(indices), channels, side, side)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for indices in torch.arange(num_images).split(BATCH):
            yield read(indices), torch.zeros(len(indices), dtype=torch.int64)

    return ImageSet("noise", num_images, batches, read)


@torch.no_grad()
def pass_over(network: Network, probe: Probe, noise: ImageSet, layer: str) -> None:
    """Compute the layer for every image and keep nothing."""
    for images, _ in noise.batches():
        maps_at(network, probe.normalize(images), layer)


def project_all(network: Network, probe: Probe, noise: ImageSet, layer: str) -> None:
    """Project as many activations as the page has, and keep nothing."""
    for first in range(0, NUM_UNITS * NUM_BEST, BATCH):
        images = noise.read(torch.arange(first, first + BATCH))
        project(network, probe.normalize(images), layer, torch.zeros(len(images), dtype=torch.long))


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of the work."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
