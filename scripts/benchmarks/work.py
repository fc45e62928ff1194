"""The same work for every loop: images, order, weights, learning rate; and textbook networks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from cnnlab import models, runtime
from cnnlab.config import TrainConfig, choices, parse_train
from cnnlab.config.models import ModelConfig
from cnnlab.config.schema import parse
from cnnlab.trainer.assemble import Assembly, assemble

CONFIGS = Path(__file__).parents[2] / "configs"

Advance = Callable[[int], tuple[float, list[float]]]
"""num_steps -> (seconds that these steps took, the loss of each)."""

NetworkT = TypeVar("NetworkT", bound=nn.Module)


CPU = torch.device("cpu")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(device: torch.device) -> float:
    """Return seconds, after all work on `device`: wall-clock time, or of the processor.

    On the CPU with one thread it is processor time, which ignores what else runs on a shared
    machine; with several it would count threads that wait for each other as busy. A loop that
    chose its number of threads itself is compared with others by the wall clock.
    """
    synchronize(device)
    alone = device.type == "cpu" and torch.get_num_threads() == 1 and not _CHOSE_THREADS
    return time.process_time() if alone else time.perf_counter()


_CHOSE_THREADS: list[bool] = []
"""Not empty once `our_parts` left the number of threads to cnnlab in this process."""


@dataclass(frozen=True)
class Work:
    """What every loop trains on, and from which weights.

    images: uint8 [N,C,S,S]; order: [N] indices of the images of the first epoch;
    mean, std: [C] of the pixels in levels of 0..255; weights: of our network before training.
    """

    images: Tensor
    labels: Tensor
    order: Tensor
    mean: Tensor
    std: Tensor
    weights: dict[str, Tensor]
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    device: torch.device = CPU
    """Where the networks of the peers compute; the tensors above are on the CPU."""

    def normalized(self) -> Tensor:
        """Return float32 [N,C,S,S] with mean 0 and standard deviation 1."""
        shape = (1, -1, 1, 1)
        return (self.images.float() - self.mean.view(shape)) / self.std.view(shape)

    def batches(self) -> Iterator[Tensor]:
        """Yield the indices of each batch on the device, every epoch in the order of the first."""
        order = self.order.to(self.device)
        while True:
            yield from order.split(self.batch_size)


def configure(*overrides: str) -> TrainConfig:
    """Compose the settings of `cnnlab train` with `overrides`, without clipping the gradient."""
    from hydra import compose, initialize_config_dir  # only here: the rest works without it

    from cnnlab.command.composing import settle

    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("train", overrides=["trainer.clip_gradient_norm=null", *overrides])
    return parse_train(settle(composed))


def our_parts(
    *overrides: str,
    device: torch.device = CPU,
    configured: bool = True,
    chooses_threads: bool = False,
) -> Assembly:
    """Assemble a training run; with `configured=False` without its process settings on a CPU.

    On a GPU they decide the precision, which has to be the same for all. chooses_threads: as many
    as cnnlab takes by itself, instead of those of this process.
    """
    if chooses_threads:
        _CHOSE_THREADS.append(True)
    threads = "null" if chooses_threads else torch.get_num_threads()
    config = configure(*overrides, f"runtime.num_threads={threads}")
    if configured or device.type == "cuda":
        runtime.configure(device, num_threads=config.runtime.num_threads)
    return assemble(config, device)


def work_of(parts: Assembly) -> Work:
    """Return the data and weights of `parts` for the peers, as copies that share no tensor."""
    store = parts.splits.train
    images = store.read(torch.arange(len(store))).permute(0, 3, 1, 2)
    generator = runtime.make_generator(parts.config.seed, "order", 0)
    order = torch.randperm(len(store), generator=generator)

    return Work(
        images=parts.preprocessing.prepare(images).contiguous(),
        labels=store.labels.clone(),
        order=order,
        mean=parts.preprocessing.mean.cpu().clone(),
        std=parts.preprocessing.std.cpu().clone(),
        weights={n: t.detach().cpu().clone() for n, t in parts.network.state_dict().items()},
        batch_size=parts.config.trainer.batch_size,
        learning_rate=parts.config.optimizer.learning_rate,
        device=parts.device,
    )


def random_network(name: str, channels: int, side_pixels: int) -> models.Network:
    """Return a network of cnnlab with its defaults, ten classes and the weights of seed 0."""
    config = parse(ModelConfig, choices.alone("model", name), "model")
    sizes = {"in_channels": channels, "input_size_pixels": side_pixels, "num_classes": 10}
    return models.build(config, **sizes, seed=0)


def textbook_lenet5(work: Work) -> nn.Sequential:
    """Return LeNet-5 as a textbook writes it, in the default memory format, with our weights."""
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    return take_weights(network, work)


def textbook_alexnet(work: Work, *, response_norm: bool, num_classes: int) -> nn.Sequential:
    """Return the 2012 network without groups (224 pixels, ceil mode), made of torch's layers."""

    def norm() -> list[nn.Module]:
        # torch divides alpha by the window of 5: its 5e-4 is the paper's 1e-4 per unit
        return [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if response_norm else []

    pool = nn.MaxPool2d(3, 2)

    layers: list[nn.Module] = [nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, 4), nn.ReLU()]
    layers += [*norm(), pool, nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), *norm(), pool]
    for channels in ((256, 384), (384, 384), (384, 256)):
        layers += [nn.Conv2d(*channels, 3, padding=1), nn.ReLU()]

    layers += [pool, nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096)]
    return take_weights(nn.Sequential(*layers, nn.ReLU(), nn.Linear(4096, num_classes)), work)


def take_weights(network: NetworkT, work: Work) -> NetworkT:
    """Copy our weights, in order, into a network of the same shapes, and move it to the device."""
    pairs = zip(network.parameters(), work.weights.values(), strict=True)
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return network.to(work.device)
