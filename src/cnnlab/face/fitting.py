"""`cnnlab.fit`: train a module of one's own on an image set, in memory."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from cnnlab import host, notebook
from cnnlab.console import Console
from cnnlab.errors import NumericsError
from cnnlab.face.image_sets import ImageSets
from cnnlab.percentages import percent
from cnnlab.runtime import dropout_seeder

Loss = Callable[[Tensor, Tensor], Tensor]
"""(scores [N,K], labels [N]) -> mean loss."""


class History(list[dict[str, float]]):
    """The figures of each epoch: epoch, loss and, with validation images, validation_error."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row for each epoch, and the curve of the loss."""
        columns = list(self[0]) if self else []
        rows = [[f"{row[name]:.4g}" for name in columns] for row in self]
        return notebook.table("history", rows, columns, notebook.curve_of(self, "loss", "loss"))


def fit(
    network: nn.Module,
    data: ImageSets,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
) -> History:
    """Train any module from [n,C,S,S] images to scores [n,K]; print and return a row per epoch.

    data: shuffled, augmented and normalized as `cnnlab train` does it; the network is trained on
    the device where it is. Nothing is written. With the same seed, network and thread count the
    result repeats bit for bit. Raises NumericsError after an epoch whose loss is not finite.
    """
    was_training = network.training
    with host.unchanged(), host.torch_unchanged():
        torch.set_grad_enabled(True)
        try:
            network.train()
            update = _Update(network, optimizer, loss, seed)
            return _trained(update, data, epochs, batch_size)
        finally:
            network.train(was_training)


class _Update:
    """One update from a batch; dropout follows the seed and the number of the update."""

    def __init__(self, network: nn.Module, optimizer: Optimizer, loss: Loss, seed: int) -> None:
        self.network, self.seed = network, seed
        self.device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self._optimizer, self._loss = optimizer, loss
        self._seed_dropout, self._number = dropout_seeder(seed, self.device), 0

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the images, on the device."""
        self._seed_dropout(self._number)
        self._number += 1
        loss = self._loss(self.network(images), labels)

        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.detach() * len(labels)


def _trained(update: _Update, data: ImageSets, epochs: int, batch_size: int) -> History:
    console, history = Console(), History()
    num_images = len(data.train)
    steps_per_epoch = -(-num_images // batch_size)
    batches = data.batches(batch_size, epochs=epochs, seed=update.seed, device=update.device)

    total = torch.zeros((), device=update.device)
    for step, (images, labels) in enumerate(batches, start=1):
        total += update(images, labels)
        if step % steps_per_epoch:
            continue

        row = {"epoch": float(step // steps_per_epoch), "loss": float(total) / num_images}
        if data.validation is not None:
            row["validation_error"] = data.measure(update.network)["top1_error"]
        history.append(row)
        console.line(_line(row, epochs))
        _check(row)
        total.zero_()
    return history


def _line(row: dict[str, float], epochs: int) -> str:
    error = row.get("validation_error")
    judged = "" if error is None else f"  validation error {percent(error)}"
    return f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.4f}{judged}"


def _check(row: dict[str, float]) -> None:
    if not math.isfinite(row["loss"]):
        raise NumericsError(
            f"the loss of epoch {row['epoch']:.0f} is not finite: {row['loss']}",
            hint="lower the learning rate, or clip the gradient in a loop of your own",
        )
