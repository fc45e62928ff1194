"""Warnings of a training that is likely to stall, or has stalled; nothing is stopped.

The measure is that of `cnnlab summary init_report=true`, on a few training images. It uses none of
the training's random numbers and changes nothing of the network.
"""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from cnnlab import models
from cnnlab.config import TrainConfig
from cnnlab.config.loss import DefaultLossConfig, is_cross_entropy
from cnnlab.config.models import ModelConfig
from cnnlab.config.training import LevenbergMarquardtConfig
from cnnlab.console import Console
from cnnlab.data.store import Store
from cnnlab.evaluation import views
from cnnlab.models.init_report import InitReport, report_start
from cnnlab.models.summary import summarize
from cnnlab.run_folder import RunFolder
from cnnlab.runtime import make_generator
from cnnlab.trainer.assemble import Assembly

FEWEST_IMAGES, MOST_IMAGES = 8, 64
MULTIPLY_ADDS = 4_000_000_000
"""Of one measurement: 64 images of a small network, 8 of AlexNet at 224 pixels."""

FEWEST_UPDATES = 100
"""Updates before which nothing is called a stall: no network has learned by then."""

WARNINGS = "warnings"
"""Key of run.json for the warnings so far, by kind: start, chance, dead, busy."""


class StallWatch:
    """Warns before the first update and after each epoch, of each kind of problem once."""

    def __init__(self, parts: Assembly, folder: RunFolder, console: Console) -> None:
        self.parts, self.folder, self.console = parts, folder, console
        self._images = example_images(parts)
        self._warned: dict[str, str] = folder.mapping(WARNINGS)
        self._advice = smaller_steps(parts.config)

    def before_training(self) -> None:
        """Warn where the start is likely to stall, and name a setting that would not."""
        if len(self._images) < 2:
            return  # a variation over images takes two of them

        start = report_start(self.parts.network, self._images)
        self.folder.update_status(start={"score_share": start.score_share})
        adaptive = self.parts.config.optimizer.is_adaptive
        if start.is_enough(adaptive=adaptive):
            return

        self._advice = self._better_start(adaptive) or self._advice
        self.warn(
            "start",
            f"training is likely to stall: the scores vary with the image by only "
            f"{start.score_share:.2%} of their size (networks that train: "
            f"{start.least_share(adaptive=adaptive):.2%} or more); {self._advice}",
        )

    def after_epoch(self, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Warn where the network is still at chance level, and where a layer is dead.

        figures: of the epoch, `train/loss` among them and `validation/top1_error` if there are
        validation images.
        """
        config = self.parts.config
        if step < FEWEST_UPDATES or config.trainer.overfit_one_batch or config.schedule.is_trial:
            return

        if found := self._at_chance(figures):
            text = f"after epoch {epoch:g} {found} is at chance level; if it stays there:"
            self.warn("chance", f"{text} {self._advice}")

        if "dead" not in self._warned and len(self._images):
            dead = report_start(self.parts.network, self._images).dead_layer
            if dead is not None:
                self.warn(
                    "dead",
                    f"after epoch {epoch:g} all units of {dead} are 0 on every sampled image, "
                    f"so the layers before it get no gradient; {self._advice}",
                )

    def _at_chance(self, figures: dict[str, float]) -> str | None:
        """Return the figure that a constant answer would reach too; None: there is none.

        The validation error where there is one, else the training loss where it is cross entropy.
        """
        validation, train = self.parts.splits.validation, self.parts.splits.train
        error, loss = figures.get("validation/top1_error"), figures["train/loss"]
        error = figures.get("validation/raw_top1_error", error)  # an average starts late
        if validation is not None and error is not None:
            at_chance = error >= chance_error(validation)
            return f"the validation error ({error:.1%})" if at_chance else None

        config = self.parts.config
        if not is_cross_entropy(config.loss, config.model):
            return None
        assert isinstance(config.loss, DefaultLossConfig)
        smoothing, weights = config.loss.label_smoothing, self.parts.update.class_weights
        at_chance = loss >= chance_loss(train, smoothing, weights)
        return f"the training loss ({loss:.2f})" if at_chance else None

    def warn(self, kind: str, text: str) -> None:
        """Print and record a warning unless this run had one of its kind."""
        if kind in self._warned:
            return
        self._warned[kind] = f"warning: {text}"
        self.console.line(self._warned[kind])
        self.folder.update_status(**{WARNINGS: self._warned})

    def _better_start(self, adaptive: bool) -> str | None:
        """Return the setting with which the scores vary most with the image, if that is enough.

        The networks are built and measured, so that the advice holds for this size and these
        images. Pretrained weights are not initialized, so no initialization is advised.
        """
        if self.parts.config.fine_tuning.weights is not None:
            return None

        found = [
            (report.score_share, f"with {key}: {report.score_share:.1%}")
            for key, report in self._measured_alternatives()
            if report.is_enough(adaptive=adaptive)
        ]
        return max(found)[1] if found else None

    def _measured_alternatives(self) -> Iterator[tuple[str, InitReport]]:
        config, task = models.on_one_device(self.parts.config.model), self.parts.network.task
        for words, other in alternatives(config):
            network = models.build(
                other,
                in_channels=task.in_channels,
                input_size_pixels=task.input_size_pixels,
                num_classes=task.num_classes,
                seed=self.parts.config.seed,
            )
            yield words, report_start(network, self._images.cpu())


def alternatives(config: ModelConfig) -> Iterator[tuple[str, ModelConfig]]:
    """Yield (key=value, settings) for each other initialization, and each other activation."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    for name in ("initialization", "activation"):
        for choice in fields[name].metadata["choices"] or () if name in fields else ():
            if choice != getattr(config, name):
                changed: dict[str, str] = {name: choice}
                yield f"model.{name}={choice}", dataclasses.replace(config, **changed)


def example_images(parts: Assembly) -> Tensor:
    """Return a few training images as the network sees them in testing: float32 [N,C,S,S]."""
    train, size = parts.splits.train, parts.network.input_size_pixels
    cost = summarize(parts.network, parts.config.model.name).num_multiply_adds
    number = max(FEWEST_IMAGES, min(MOST_IMAGES, MULTIPLY_ADDS // max(1, cost)))

    order = torch.randperm(len(train), generator=make_generator(parts.config.seed, "init_report"))
    pixels = train.read(order[:number].sort().values).permute(0, 3, 1, 2).to(parts.device)
    whole = parts.preprocessing.prepare(pixels)
    return parts.preprocessing.normalize(views.Views("center", size)(whole)[:, 0])


def chance_error(store: Store) -> float:
    """Return the least error that a constant prediction may reach on these images by luck.

    The error of predicting the most frequent class, less two standard deviations of the count.
    """
    shares = store.labels.bincount().double() / len(store)
    error = 1 - float(shares.max())
    return error - 2 * (error * (1 - error) / len(store)) ** 0.5


def chance_loss(
    store: Store, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> float:
    """Return the least training loss of a constant answer: ln K where the classes are equal.

    That is the entropy of the class frequencies, of smoothed labels if they are, weighted by class
    (float64 [K]) if they are.
    """
    num_classes = len(store.class_names)
    weights = torch.ones(num_classes).double() if class_weights is None else class_weights
    shares = store.labels.bincount(minlength=num_classes).double() / len(store)
    targets = weights * ((1 - label_smoothing) * shares + label_smoothing / num_classes)

    total = targets.sum()  # sum of -t log(t / total) over the classes is least of all answers
    return float((torch.special.entr(targets).sum() + total * total.log()) / (weights @ shares))


def smaller_steps(config: TrainConfig) -> str:
    """Return advice against a learning rate that is too high: a lower one, or clipping."""
    slower = f"try optimizer.learning_rate={config.optimizer.learning_rate / 10:g}"
    clips = config.trainer.clip_gradient_norm is not None
    if clips or isinstance(config.optimizer, LevenbergMarquardtConfig):
        return slower
    return f"{slower} or trainer.clip_gradient_norm=1"
