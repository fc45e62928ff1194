"""Whether a training is likely to stall, or has stalled: what `cnnlab train` says of it.

It stops nothing. The measure is the one of `cnnlab summary init_report=true`, on a few images of
the training set; it draws nothing from training's randomness and changes nothing of the network.
"""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab import models
from cnnlab.config import TrainConfig
from cnnlab.config.models import ModelConfig
from cnnlab.config.training import AdamwConfig, LevenbergMarquardtConfig
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.evaluation import views
from cnnlab.models.init_report import InitReport, report_start
from cnnlab.models.summary import summarize
from cnnlab.run_folder import RunFolder
from cnnlab.runtime import make_generator
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.curvature import loss_of

FEWEST_IMAGES, MOST_IMAGES = 8, 64
MULTIPLY_ADDS = 4_000_000_000
"""What one look may cost: 64 images of a small network, 8 of AlexNet at 224 pixels."""

UPDATES_BEFORE_JUDGING = 100
"""Epochs that end sooner are not called a stall: no network has learned by then."""

WARNINGS = "warnings"
"""Where run.json keeps what was said, by kind: start, chance, dead."""

ADAPTIVE = (AdamwConfig, LevenbergMarquardtConfig)
"""Update rules that scale each weight's step by its own gradients."""


class StallWatch:
    """Look at the network before its first update and after each epoch; say each thing once."""

    def __init__(self, parts: Assembly, folder: RunFolder, console: Console) -> None:
        self.parts, self.folder, self.console = parts, folder, console
        self._images = example_images(parts)
        self._said: dict[str, str] = folder.status().get(WARNINGS) or {}
        self._advice = calmer(parts.config)

    def before_training(self) -> None:
        """Warn where the start is likely to stall, and name what would not."""
        if len(self._images) < 2:
            return  # what depends on the image shows between two of them
        start = report_start(self.parts.network, self._images)
        self.folder.update_status(start={"score_share": start.score_share})
        adaptive = isinstance(self.parts.config.optimizer, ADAPTIVE)
        if start.is_enough(adaptive=adaptive):
            return

        self._advice = self._other_start(adaptive) or self._advice
        self._say(
            "start",
            f"training is likely to stall: {start.score_share:.2%} of the scores' size depends on "
            f"the image, of networks that train {start.least_share(adaptive=adaptive):.2%} or "
            f"more; {self._advice}",
        )

    def after_epoch(self, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Warn where the network still guesses, and where a layer is dead.

        figures: of the epoch, `train/loss` among them and `validation/top1_error` if there are
        validation images.
        """
        if step < UPDATES_BEFORE_JUDGING or self.parts.config.trainer.overfit_one_batch:
            return
        if guesses := self._guesses(figures):
            self._say("chance", f"after epoch {epoch:g} {guesses}; if it stays so: {self._advice}")

        if "dead" not in self._said and len(self._images):
            dead = report_start(self.parts.network, self._images).dead_layer
            if dead is not None:
                self._say(
                    "dead",
                    f"after epoch {epoch:g} all units of {dead} are 0 for every image looked at, "
                    f"so no layer before it learns any more; {self._advice}",
                )

    def _guesses(self, figures: dict[str, float]) -> str | None:
        """Return the figure that is no better than guessing, None where it is or cannot tell."""
        validation, train = self.parts.splits.validation, self.parts.splits.train
        error, loss = figures.get("validation/top1_error"), figures["train/loss"]
        if validation is not None and error is not None:
            worse = error >= error_of_guessing(validation)
            return f"the validation error, {error:.1%}, is that of guessing" if worse else None
        if loss_of(self.parts.config.model) != "cross_entropy":
            return None
        worse = loss >= loss_of_guessing(train)
        return f"the training loss, {loss:.2f}, is that of guessing" if worse else None

    def _say(self, kind: str, text: str) -> None:
        if kind in self._said:
            return
        self._said[kind] = f"warning: {text}"
        self.console.line(self._said[kind])
        self.folder.update_status(**{WARNINGS: self._said})

    def _other_start(self, adaptive: bool) -> str | None:
        """Return the setting with which the same images make the largest difference, if enough.

        The networks are built and measured, so that the advice holds for this size and these
        images. Weights that were taken from a checkpoint are not drawn, so no draw is advised.
        """
        if self.parts.config.fine_tuning.weights is not None:
            return None
        found = [
            (report.score_share, f"{key} has {report.score_share:.1%}")
            for key, report in self._others()
            if report.is_enough(adaptive=adaptive)
        ]
        return max(found)[1] if found else None

    def _others(self) -> Iterator[tuple[str, InitReport]]:
        config, task = models.on_one_device(self.parts.config.model), self.parts.network.task
        for words, other in neighbors(config):
            network = models.build(
                other,
                in_channels=task.in_channels,
                input_size_pixels=task.input_size_pixels,
                num_classes=task.num_classes,
                seed=self.parts.config.seed,
            )
            yield words, report_start(network, self._images.cpu())


def neighbors(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """Yield (key=value, settings) for each other first draw, and each other activation."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    for name in ("initialization", "activation"):
        for choice in fields[name].metadata["choices"] or () if name in fields else ():
            if choice != getattr(config, name):
                changed: dict[str, str] = {name: choice}
                yield f"model.{name}={choice}", dataclasses.replace(config, **changed)


def example_images(parts: Assembly) -> Tensor:
    """Return a few training images as the network sees them when it is tested, [N, C, S, S]."""
    train, size = parts.splits.train, parts.network.input_size_pixels
    cost = summarize(parts.network, parts.config.model.name).num_multiply_adds
    number = max(FEWEST_IMAGES, min(MOST_IMAGES, MULTIPLY_ADDS // max(1, cost)))
    order = torch.randperm(len(train), generator=make_generator(parts.config.seed, "init_report"))
    pixels = train.read(order[:number].sort().values).permute(0, 3, 1, 2).to(parts.device)
    whole = parts.preprocessing.prepare(pixels)
    return parts.preprocessing.normalize(views.Views("center", size)(whole)[:, 0])


def error_of_guessing(store: Store) -> float:
    """Return the least error that a constant answer may reach on these images by luck.

    The error of the commonest class less two standard deviations of a count of so many images.
    """
    shares = store.labels.bincount().double() / len(store)
    error = 1 - float(shares.max())
    return error - 2 * (error * (1 - error) / len(store)) ** 0.5


def loss_of_guessing(store: Store) -> float:
    """Return the cross-entropy of answering with the shares of the classes: ln K where equal."""
    shares = store.labels.bincount().double() / len(store)
    return float(torch.special.entr(shares).sum())


def calmer(config: TrainConfig) -> str:
    """Return what helps where a rate is too high: a lower one, or clipping where there is none."""
    slower = f"try optimizer.learning_rate={config.optimizer.learning_rate / 10:g}"
    clips = config.trainer.clip_gradient_norm is not None
    if clips or isinstance(config.optimizer, LevenbergMarquardtConfig):
        return slower
    return f"{slower} or trainer.clip_gradient_norm=1"
