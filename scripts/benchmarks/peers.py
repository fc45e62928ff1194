"""How others train the same network on the same images: one function per peer, Work -> Advance.

Each is written as its own documentation shows, with logging, bars and checkpoints off.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from work import Advance, Work, clock

Network = Callable[[Work], nn.Module]


class Pictures(Dataset):
    """Images as torchvision's MNIST class returns them: PIL, then a transform, one at a time."""

    def __init__(self, work: Work) -> None:
        self.images, self.labels = work.images[:, 0], work.labels
        mean, std = (work.mean / 255).tolist(), (work.std / 255).tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(mean, std)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index].numpy())
        return self.transform(image), int(self.labels[index])


def loader(work: Work) -> DataLoader:
    """Return the example's DataLoader in the order of `work`: on a CPU without workers."""
    on_gpu = work.device.type == "cuda"
    return DataLoader(
        Pictures(work),
        batch_size=work.batch_size,
        sampler=work.order.tolist(),
        num_workers=1 if on_gpu else 0,
        persistent_workers=on_gpu,
        pin_memory=on_gpu,
    )


def repeated(batches: Any) -> Iterator[Any]:
    """Iterate over `batches` without end."""
    while True:
        yield from batches


def mnist_example(work: Work, network: Network) -> Advance:
    """The loop of PyTorch's MNIST example (pytorch/examples, mnist/main.py): log every 10 steps."""
    model = network(work)
    optimizer = torch.optim.SGD(model.parameters(), work.learning_rate, work.momentum)
    batches = repeated(loader(work))

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses, started = [], clock(work.device)
        model.train()
        for index in range(num_steps):
            data, target = (part.to(work.device) for part in next(batches))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if index % 10 == 0:
                loss.item()
        return clock(work.device) - started, [float(loss) for loss in losses]

    return advance


def bare_loop(work: Work, network: Network) -> Advance:
    """All images in memory as normalized floats and nothing but the step: a hand-written loop."""
    model, images = network(work), work.normalized().to(work.device)
    optimizer = torch.optim.SGD(model.parameters(), work.learning_rate, work.momentum)
    batches, labels = work.batches(), work.labels.to(work.device)

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses, started = [], clock(work.device)
        for _ in range(num_steps):
            indices = next(batches)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[indices]), labels[indices])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return clock(work.device) - started, [float(loss) for loss in losses]

    return advance


def reference_recipe(work: Work, network: Network) -> Advance:
    """The inner loop of torchvision's references/classification, on data in memory.

    It keeps its figures of every step: loss, top-1 and top-5 accuracy, each read on the host.
    """
    model, images = network(work), work.normalized().to(work.device)
    optimizer = torch.optim.SGD(model.parameters(), work.learning_rate, work.momentum)
    criterion, batches, labels = nn.CrossEntropyLoss(), work.batches(), work.labels.to(work.device)

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses, started = [], clock(work.device)
        model.train()
        for _ in range(num_steps):
            indices = next(batches)
            image, target = images[indices], labels[indices]
            output = model(image)
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            hits = output.topk(5).indices == target[:, None]
            hits[:, :1].sum().item(), hits.sum().item()
            losses.append(loss.item())
        return clock(work.device) - started, losses

    return advance


def timm_machinery(work: Work, network: Network) -> Advance:
    """The parts and the inner loop of timm's train.py (train_one_epoch), without accelerator.

    Its optimizer and scheduler factories, its meters and its scheduler update after every step;
    the loader is that of `--no-prefetcher`, without workers; the loss is read when it is logged,
    every 50 steps.
    """
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import AverageMeter

    model = network(work)
    optimizer = create_optimizer_v2(
        model, opt="momentum", lr=work.learning_rate, momentum=work.momentum, weight_decay=0.0
    )
    steps_per_epoch = -(-len(work.order) // work.batch_size)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="step",
        num_epochs=10**6,
        decay_epochs=10**6,
        warmup_epochs=0,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
    )

    criterion, batches = nn.CrossEntropyLoss(), repeated(loader(work))
    losses_m, update_time_m, data_time_m = AverageMeter(), AverageMeter(), AverageMeter()
    num_updates = 0

    def advance(num_steps: int) -> tuple[float, list[float]]:
        nonlocal num_updates
        losses, started = [], clock(work.device)
        model.train()
        update_started = time.time()
        for index in range(num_steps):
            images, target = (part.to(work.device) for part in next(batches))
            data_time_m.update(time.time() - update_started)
            loss = criterion(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            num_updates += 1
            update_time_m.update(time.time() - update_started)
            update_started = time.time()
            if index % 50 == 0:
                losses_m.update(loss.item(), len(images))
            scheduler.step_update(num_updates=num_updates, metric=losses_m.avg)
            losses.append(loss.detach())
        return clock(work.device) - started, [float(loss) for loss in losses]

    return advance


WARM_STEPS = 5
"""Untimed steps at the start of each fit of Lightning and Keras."""


def lightning(work: Work, network: Network) -> Advance:
    """Lightning with logger, bar, checkpoints and summary off."""
    import lightning as pl

    losses: list[Tensor] = []
    times: list[float] = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network(work)

        def training_step(self, batch: Any, index: int) -> Tensor:
            data, target = batch
            loss = F.cross_entropy(self.model(data), target)
            losses.append(loss.detach())
            return loss

        def on_train_batch_end(self, *arguments: Any) -> None:
            if len(losses) in (WARM_STEPS, self.trainer.max_steps):  # a GPU is waited for
                times.append(clock(work.device))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), work.learning_rate, work.momentum)

    module, index = Module(), work.device.index
    accelerator, devices = ("cpu", 1) if index is None else ("gpu", [index])

    def advance(num_steps: int) -> tuple[float, list[float]]:
        losses.clear()
        times.clear()

        trainer = pl.Trainer(
            max_steps=num_steps + WARM_STEPS,
            accelerator=accelerator,
            devices=devices,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader(work))
        return times[1] - times[0], [float(loss) for loss in losses[:num_steps]]

    return advance


def keras(work: Work, network: Network) -> Advance:
    """Keras 3 on torch: model.fit on arrays in memory, channels last as is Keras's default."""
    os.environ |= {"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": str(work.device)}
    import keras as k

    layers = k.layers
    model = k.Sequential(
        [
            k.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(120, 5, activation="relu"),
            layers.Flatten(),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )

    model.set_weights([_keras_layout(weight).numpy() for weight in work.weights.values()])
    model.compile(
        k.optimizers.SGD(work.learning_rate, work.momentum),
        k.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    images = work.normalized()[work.order].permute(0, 2, 3, 1).contiguous().numpy()
    labels = work.labels[work.order].numpy()

    class Clock(k.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.times: list[float] = []
            self.means: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.times.append(clock(work.device))
            self.means.append(logs["loss"])

    def advance(num_steps: int) -> tuple[float, list[float]]:
        clock, num_images = Clock(), (num_steps + WARM_STEPS) * work.batch_size
        some = images[:num_images], labels[:num_images]
        model.fit(*some, batch_size=work.batch_size, shuffle=False, verbose=0, callbacks=[clock])
        # Keras reports the mean loss since the start of the fit: its differences are the losses.
        sums = [0.0, *(mean * (i + 1) for i, mean in enumerate(clock.means))]
        losses = [after - before for before, after in itertools.pairwise(sums)]
        return clock.times[-1] - clock.times[WARM_STEPS - 1], losses[:num_steps]

    return advance


def _keras_layout(weight: Tensor) -> Tensor:
    if weight.dim() == 4:
        return weight.permute(2, 3, 1, 0)
    return weight.t() if weight.dim() == 2 else weight
