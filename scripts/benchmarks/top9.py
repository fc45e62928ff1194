"""Time a top-9 page against its parts: one forward pass over a set, and 144 projections.

    OMP_NUM_THREADS=1 python scripts/benchmarks/top9.py alexnet conv5 480 3 224

Random weights and random pixels, made batch by batch; prints seconds of processor time and the
peak memory of the process.
"""

import resource
import time
from collections.abc import Callable, Iterator

import torch
from head import options
from torch import Tensor
from work import random_network

from cnnlab.models import Network
from cnnlab.visualization.deconvnet import project
from cnnlab.visualization.figures import render
from cnnlab.visualization.layer_access import maps_at
from cnnlab.visualization.probe import ImageSet, Probe
from cnnlab.visualization.projections import draw_top9

NUM_UNITS, NUM_BEST, BATCH = 16, 9, 48


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("model", nargs="?", default="lenet5")
    parser.add_argument("layer", nargs="?", default="c3")
    parser.add_argument("num_images", nargs="?", type=int, default=10_000)
    parser.add_argument("channels", nargs="?", type=int, default=1)
    parser.add_argument("side_pixels", nargs="?", type=int, default=32)
    given = parser.parse_args()
    report(given.model, given.layer, noise_set(given.num_images, given.channels, given.side_pixels))


def report(model: str, layer: str, noise: ImageSet) -> None:
    """Print the seconds of the page and of its parts for one layer of one model."""
    sample = noise.read(torch.arange(1))
    network = random_network(model, sample.shape[1], sample.shape[3]).eval()
    probe = Probe(
        images=sample,
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
    print(f"{model} {layer}, {noise.num_images} images, {NUM_UNITS * NUM_BEST} projections")
    print(f"forward pass {forward:.2f} s, projections {projecting:.2f} s")
    print(f"top-9 page {whole:.2f} s: {whole / (forward + projecting):.2f} of their sum")
    print(f"writing the PNG {drawing:.2f} s more; peak memory {megabytes:.0f} MB")


def noise_set(num_images: int, channels: int, side: int) -> ImageSet:
    """Return random images that depend on their index alone and are made batch by batch."""

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
    """Project as many activations as the page shows, and keep nothing."""
    for first in range(0, NUM_UNITS * NUM_BEST, BATCH):
        images = noise.read(torch.arange(first, first + BATCH))
        project(network, probe.normalize(images), layer, torch.zeros(len(images), dtype=torch.long))


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of the work."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
