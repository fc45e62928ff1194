"""The same work for every peer: images, order, weights, rate; and networks as in textbooks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from cnnlab import runtime
from cnnlab.command.composing import settle
from cnnlab.config import TrainConfig, parse_train
from cnnlab.trainer.assemble import Assembly, assemble

CONFIGS = Path(__file__).parents[2] / "configs"

Advance = Callable[[int], tuple[float, list[float]]]
"""num_steps -> (seconds that these steps took, the loss of each)."""


def clock() -> float:
    """Return seconds: of processor time on one thread, of wall-clock time on several.

    Processor time does not see what else runs on a shared machine; with several threads it would
    count their waiting for each other as work.
    """
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


@dataclass(frozen=True)
class Work:
    """What is trained. images: uint8 [N,C,S,S]; order: image of each place in the first epoch.

    mean and std of the pixels in levels of 0..255, one a channel; weights: of our network.
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

    def normalized(self) -> Tensor:
        """Return float32 [N,C,S,S] with mean 0 and deviation 1."""
        shape = (1, -1, 1, 1)
        return (self.images.float() - self.mean.view(shape)) / self.std.view(shape)

    def batches(self) -> Iterator[Tensor]:
        """Yield the indices of batch after batch; the first epoch's order again and again."""
        while True:
            yield from self.order.split(self.batch_size)


def configure(*overrides: str) -> TrainConfig:
    """Compose the settings of `cnnlab train` with `overrides`; gradients as long as they come."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("train", overrides=["trainer.clip_gradient_norm=null", *overrides])
    return parse_train(settle(composed))


def our_parts(*overrides: str, configured: bool = True) -> Assembly:
    """Put a training run of cnnlab together on the CPU; for peers without its process settings."""
    config = configure(*overrides)
    device = runtime.select_device("cpu")
    if configured:
        runtime.configure(device, num_threads=torch.get_num_threads())
    return assemble(config, device)


def work_of(parts: Assembly) -> Work:
    """Return what `parts` trains, for the peers: copies, so that nobody shares a tensor."""
    store = parts.splits.train
    images = store.read(torch.arange(len(store))).permute(0, 3, 1, 2)
    order = torch.randperm(
        len(store), generator=runtime.make_generator(parts.config.seed, "order", 0)
    )
    return Work(
        images=parts.preprocessing.prepare(images).contiguous(),
        labels=store.labels.clone(),
        order=order,
        mean=parts.preprocessing.mean.clone(),
        std=parts.preprocessing.std.clone(),
        weights={n: t.detach().clone() for n, t in parts.network.state_dict().items()},
        batch_size=parts.config.trainer.batch_size,
        learning_rate=parts.config.optimizer.learning_rate,
    )


def textbook_lenet5(work: Work) -> nn.Sequential:
    """Return LeNet-5 in the order of the textbook, default memory format, with our weights."""
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
    """Return the one-tower network of 2012 (224, ceil-mode windows) of torch's own layers."""

    def norm() -> list[nn.Module]:
        # torch divides alpha by the window of 5: 5e-4 there is 1e-4 a unit
        return [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if response_norm else []

    pool = nn.MaxPool2d(3, 2)
    layers: list[nn.Module] = [nn.ZeroPad2d((0, 3, 0, 3)), nn.Conv2d(3, 96, 11, 4), nn.ReLU()]
    layers += [*norm(), pool, nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), *norm(), pool]
    for channels in ((256, 384), (384, 384), (384, 256)):
        layers += [nn.Conv2d(*channels, 3, padding=1), nn.ReLU()]
    layers += [pool, nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096)]
    return take_weights(nn.Sequential(*layers, nn.ReLU(), nn.Linear(4096, num_classes)), work)


def take_weights(network: nn.Sequential, work: Work) -> nn.Sequential:
    """Copy our weights, in order, into a network of the same shapes."""
    pairs = zip(network.parameters(), work.weights.values(), strict=True)
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return network
