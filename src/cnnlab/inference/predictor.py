"""Classify pictures with one network or an ensemble: `cnnlab predict` and `cnnlab.load`."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab import host, notebook, session
from cnnlab import images as pixels
from cnnlab.config import DATASETS
from cnnlab.config.ema import KINDS
from cnnlab.config.evaluation import EvaluationConfig
from cnnlab.data import digits
from cnnlab.errors import UsageError
from cnnlab.evaluation.evaluate import Member, as_batch, combine, evaluating, predict_views
from cnnlab.inference.given_images import as_images
from cnnlab.inference.members import (
    as_member,
    checkpoint_files,
    multiply_adds_per_pass,
    open_networks,
    training_admits_mirroring,
)
from cnnlab.inference.network import StoredNetwork
from cnnlab.numerics import check_finite
from cnnlab.percentages import percent
from cnnlab.session import Session


@dataclass(frozen=True)
class Predictions:
    """Probabilities of every class, and the classes' names.

    probabilities: float32 [N,K] on the CPU. class_names: of the columns. files: of the rows, where
    files were classified. failed: files that could not be read, and why.
    """

    class_names: tuple[str, ...]
    probabilities: Tensor
    files: tuple[Path, ...] = ()
    failed: tuple[tuple[Path, str], ...] = ()

    def top(self, number: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each image its `number` most probable classes as (name, probability)."""
        number = min(number, len(self.class_names))
        found = self.probabilities.sort(dim=1, descending=True, stable=True)
        return [
            [(self.class_names[k], p) for k, p in zip(classes, probabilities, strict=True)]
            for classes, probabilities in zip(
                found.indices[:, :number].tolist(), found.values[:, :number].tolist(), strict=True
            )
        ]

    @property
    def names(self) -> list[str]:
        """The most probable class of each image."""
        return [best[0][0] for best in self.top(1)]

    def __len__(self) -> int:
        return len(self.probabilities)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the three likeliest classes of each image."""
        names = [str(file) for file in self.files] or [str(n) for n in range(len(self))]
        shown = replace(self, probabilities=self.probabilities[:MOST_SHOWN])
        rows = [
            [name, *(f"{found} {percent(p)}" for found, p in best)]
            for name, best in zip(names, shown.top(3), strict=False)
        ]
        return notebook.table(f"{len(self)} images classified", rows)


MOST_SHOWN = 50
"""Images that a notebook lists."""


class Predictor(nn.Module):
    """One network or an ensemble that classifies pictures of any size; a module in eval mode.

    networks: those of the checkpoints; model: the first. channels: of the pictures, 1 or 3.
    Pictures are prepared as the training images were; where those were MNIST's digits, photographs
    of other sizes than 28x28 are brought to MNIST's form first (data/digits.py states the rule),
    unless `as_is`. context: makes the context of a forward pass of `predict`. stored: the networks
    with what their checkpoints say of them.
    """

    def __init__(
        self,
        members: list[Member],
        class_names: tuple[str, ...],
        is_digits: bool,
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
        stored: Sequence[StoredNetwork] = (),
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.model for member in members)
        self.class_names, self.is_digits, self.context = class_names, is_digits, context
        self.stored = tuple(stored)
        self.channels = max(member.preprocessing.channels for member in members)
        self._members = members
        self.eval()

    @property
    def model(self) -> nn.Module:
        """Return the first network."""
        return self.networks[0]

    @property
    def members(self) -> list[Member]:
        """Return the networks with what surrounds each, on the device where they are now."""
        device = next(self.networks.parameters()).device
        if self._members[0].preprocessing.mean.device != device:
            self._members = [moved(member, device) for member in self._members]
        return self._members

    def preprocess(self, images: Any, *, as_is: bool = False) -> Tensor:
        """Return what `forward` takes, float32 [N,C,S,S], of images in the forms of `predict`.

        The middle of each image, resized and normalized as the training images were.
        Raises UsageError for an ensemble, whose networks may take different inputs.
        """
        member = self._only_member()
        device = member.preprocessing.mean.device
        prepared = []
        for image in as_images(images):
            batch = member.preprocessing.prepare(self._prepared(image, as_is).to(device))
            prepared.append(member.preprocessing.normalize(as_batch(member.views(batch))))
        return torch.cat(prepared)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [N,K] of preprocessed images. Raises UsageError for an ensemble."""
        scores: Tensor = self._only_member().model(images)
        return scores

    def _only_member(self) -> Member:
        if len(self.networks) > 1:
            raise UsageError(
                f"an ensemble of {len(self.networks)} networks has no scores of its own",
                hint="predict(images) averages probabilities; networks[0] is a network",
            )
        return self.members[0]

    def predict(self, images: Any, *, as_is: bool = False) -> Predictions:
        """Classify uint8 images: [H,W], [N,H,W], [N,H,W,C] or [N,C,H,W], or PIL images.

        Arrays, tensors, or a list of single images of any sizes ([H,W], [H,W,C], [C,H,W]).
        as_is: do not bring photographs of digits to MNIST's form. Raises DataError for another
        type or shape, for no image and for one without pixels; NumericsError where the scores
        are not finite.
        """
        batches = [self._prepared(image, as_is) for image in as_images(images)]
        members, probabilities = self.members, []
        device = members[0].preprocessing.mean.device

        with evaluating(members), self.context():
            for batch in batches:
                found = combine(predict_views(members, batch.to(device)), members).cpu()
                check_finite(found)
                probabilities.append(found)
        return Predictions(self.class_names, torch.cat(probabilities))

    def seen(self, image: Tensor, *, as_is: bool = False) -> Tensor:
        """Return the views that the first network is given of uint8 [C,H,W]: uint8 [V,C,s,s].

        Only the mean and the scale of the training images are still missing, which change no
        picture: undoing them gives these pixels again.
        """
        member = self.members[0]
        prepared = self._prepared(image[None], as_is).to(member.preprocessing.mean.device)
        return member.views(member.preprocessing.prepare(prepared))[0].cpu()

    def _prepared(self, images: Tensor, as_is: bool) -> Tensor:
        """Bring photographs of digits, uint8 [n,c,h,w], to MNIST's form; leave other images."""
        if self.is_digits and not as_is:
            gray = pixels.to_channels(images, 1)
            return torch.stack([digits.like_mnist(image) for image in gray])
        return images


def moved(member: Member, device: torch.device) -> Member:
    """Return a member whose preprocessing and order of classes are on `device`."""
    order = member.class_order
    return replace(
        member,
        preprocessing=member.preprocessing.to(device),
        class_order=None if order is None else order.to(device),
    )


def load(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    device: str = "auto",
    which_weights: str | None = None,
) -> Predictor:
    """Open a checkpoint, a run folder, `latest`, or a list of them as an ensemble.

    Returns a module in eval mode that knows its preprocessing and its classes. device: auto, cpu,
    cuda, cuda:N or mps. which_weights: raw or ema; None: those that the training judged.
    Raises CheckpointError for a file that is missing, damaged or not ours.
    """
    if which_weights not in (None, *KINDS):
        raise UsageError(
            f"which_weights must be one of {', '.join(KINDS)}, or None, got {which_weights!r}"
        )
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    here = session.begin_in_python(device)
    center = EvaluationConfig(name="center")
    with host.plain_torch():
        return open_predictor([os.fspath(item) for item in given], center, here, which_weights)


def open_predictor(
    given: Sequence[str],
    evaluation: EvaluationConfig,
    here: Session,
    which_weights: str | None = None,
) -> Predictor:
    """Open checkpoints as one predictor.

    Raises UsageError for views that mirror classes which do not survive it, as evaluating does.
    """
    files = checkpoint_files(given)
    networks = open_networks(files, here, which_weights)

    # there is no test set: pictures are taken to be like the images of each network's training
    names = networks[0].class_names
    members = [
        as_member(
            network,
            evaluation,
            class_names=names,
            mirror_allowed=training_admits_mirroring(network.config),
            dataset=str(network.config["dataset"]["name"]),
        )
        for network in networks
    ]
    here.feed(multiply_adds_per_pass(members, num_images=1))  # the command takes one at a time
    sets = [DATASETS.get(network.config["dataset"]["name"]) for network in networks]
    is_digits = all(row is not None and row.is_digits for row in sets)
    return Predictor(members, names, is_digits, here.forward, networks)
