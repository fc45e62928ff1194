"""Pages of small networks, made without a run or a data set."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.models import Network
from cnnlab.playground import page
from cnnlab.preprocessing import Preprocessing
from cnnlab.visualization.probe import ImageSet, Probe

DIGITS = tuple("0123456789")


def preprocessing_for(network: Network) -> Preprocessing:
    """Return one with other numbers for each channel."""
    channels, size = network.in_channels, network.input_size_pixels
    mean, std = torch.linspace(100, 130, channels), torch.linspace(55, 65, channels)
    return Preprocessing(channels, size, 0, mean, std)


def random_images(network: Network, count: int, seed: int = 0) -> Tensor:
    """Return coarse random images, uint8 [count,C,S,S]."""
    generator = torch.Generator().manual_seed(seed)
    side = network.input_size_pixels
    shape = (count, network.in_channels, -(-side // 4), -(-side // 4))
    coarse = torch.randint(0, 256, shape, generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    return fine.round().to(torch.uint8)


def image_set(images: Tensor, labels: Tensor) -> ImageSet:
    """Return images in memory as a set, in batches of 16."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(images.split(16), labels.split(16), strict=True)

    return ImageSet("set test", len(images), batches, lambda chosen: images[chosen], labels)


def probe_for(network: Network, count: int = 10, names: tuple[str, ...] = DIGITS) -> Probe:
    """Return a probe of random images, which are its sets as well."""
    images, labels = random_images(network, count), torch.arange(count) % network.num_classes
    whole = image_set(images, labels)
    normalize = preprocessing_for(network).normalize
    return Probe(
        images, labels, names, normalize, whole, whole,
        model_title="model", checkpoint_title="best (epoch 3)", set_title="set test",
    )  # fmt: skip


def write(network: Network, folder: Path, probe: Probe | None = None, digits: bool = False) -> Path:
    """Write a network's page."""
    probe = probe_for(network) if probe is None else probe
    subject = page.Subject(network, preprocessing_for(network), probe, "epoch 3", digits)
    return page.write(subject, folder)
