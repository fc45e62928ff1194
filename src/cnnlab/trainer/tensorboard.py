"""What a run shows in TensorBoard besides figures and pictures: at its start, its end, or asked.

By default all of it is written before the first update and after the last one. Only histograms are
written in between, where `logging.histograms_every_steps` asks for them.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from cnnlab.config import flat, to_plain
from cnnlab.errors import UsageError
from cnnlab.eval_mode import eval_mode
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.precision_recall import curves
from cnnlab.models import Network
from cnnlab.models.summary import summarize
from cnnlab.percentages import interval, percent
from cnnlab.reports import projector, tabs
from cnnlab.reports.projector import Embedding
from cnnlab.run_folder import RunFolder
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.pictures import BATCH, on_one_device, probe_of_run
from cnnlab.trainer.snapshot import Progress
from cnnlab.training.loop import StepReport, TrainState
from cnnlab.visualization.layer_access import each_layer, hidden_layer
from cnnlab.visualization.probe import Probe, in_parts
from cnnlab.writers import Writers

COMMAND_WIDTH = 90

MOST_CURVES = 20
"""Classes with a precision-recall curve of their own: 3 KB each."""


class Tabs:
    """Writes text, graph, layout, hyperparameters, histograms, curves and an embedding.

    An error while one of them is made is a warning, and the others are written.
    """

    def __init__(
        self, parts: Assembly, folder: RunFolder, writers: Writers, warn: Callable[[str], None]
    ) -> None:
        self.parts, self.folder, self.writers, self.warn = parts, folder, writers, warn

    def begin(self, step: int) -> None:
        """Write what is known before the first update."""
        if not self.writers.take_summaries:
            return
        self._try("text", step, self._text)
        self._try("graph", step, self._graph)
        self._try("charts", step, lambda: [tabs.charts()])
        plain = to_plain(self.parts.config)
        self._try("settings", step, lambda: [tabs.settings(hyperparameters(plain))])

    def histograms(self, state: TrainState, report: StepReport) -> None:
        """Write a histogram of each weight and of its gradient, as the last update used it."""
        if self.writers.take_summaries:
            self._try("histograms", state.step, self._histograms)

    def end(self, progress: Progress, tally: Tally, counts: Tensor | None) -> None:
        """Write what the test found. counts: of PrecisionRecall."""
        if not self.writers.take_summaries:
            return
        step, best = progress.state.step, progress.best.error
        self._try("results", step, lambda: [results(tally)])
        self._try("results", step, lambda: compared(tally, best))
        if counts is not None:
            self._try("precision and recall", step, lambda: self._curves(counts))
        self._try("settings", step, lambda: [tabs.ended()])
        if self.parts.config.logging.embedded_images:
            self._try("embedding", step, self._embed)

    def _try(self, what: str, step: int, make: Callable[[], list[object]]) -> None:
        try:
            made = make()
        except Exception as error:  # training goes on whatever a log cannot show
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            self.warn(f"warning: no {what} in TensorBoard: {line}; training continues")
        else:
            self.writers.summaries(step, made)

    def _text(self) -> list[object]:
        summary = summarize(self.parts.network, str(self.parts.config.model.name))
        rows = [
            [row.name, row.role, _size(row.output_size), f"{row.num_parameters:,}",
             f"{row.num_multiply_adds:,}", str(row.receptive_field_pixels)]
            for row in summary.rows
        ]  # fmt: skip
        total = ["total", "", "", f"{summary.num_parameters:,}", f"{summary.num_multiply_adds:,}"]
        columns = ["layer", "role", "output", "parameters", "multiply-adds", "sees pixels"]
        config = yaml.safe_dump(to_plain(self.parts.config), sort_keys=False, allow_unicode=True)
        return [
            tabs.words("run/1 command", _wrapped(str(self.folder.status().get("command") or ""))),
            tabs.table("run/2 network", columns, [*rows, [*total, ""]]),
            tabs.words("run/3 config", config.rstrip()),
        ]

    def _graph(self) -> list[object]:
        summary = summarize(self.parts.network)
        return [tabs.graph(summary.input_size, summary.rows)]

    def _histograms(self) -> list[object]:
        found = []
        for name, weight in self.parts.network.named_parameters():
            layer = name.replace(".", "/", 1)
            found.append(tabs.histogram(f"weights/{layer}", weight))
            if weight.grad is not None:
                found.append(tabs.histogram(f"gradients/{layer}", weight.grad))
        return [one for one in found if one is not None]

    def _curves(self, counts: Tensor) -> list[object]:
        names = self.parts.splits.test.class_names
        return [
            tabs.precision_recall(
                "test/all classes" if curve.label is None else
                f"test, each class/{curve.label}: {names[curve.label]}", curve
            )
            for curve in curves(counts, MOST_CURVES)
        ]  # fmt: skip

    def _embed(self) -> list[object]:
        number = self.parts.config.logging.embedded_images
        probe = probe_of_run(self.parts, "", number)
        network = on_one_device(self.parts.judged)
        try:
            layer = hidden_layer(network)
        except UsageError:
            return []  # the scores come from the pixels
        features, predicted = look(network, probe, layer)

        assert probe.labels is not None, "images of a run's own sets have labels"
        answers = [
            (probe.class_name(label), probe.class_name(guess))
            for label, guess in zip(probe.labels.tolist(), predicted.tolist(), strict=True)
        ]
        rows = [[*pair, _answer(*pair)] for pair in answers]  # the last is what is shown first
        name = f"{layer}: {len(rows)} images of {probe.set_title}"
        columns = ["class", "predicted", "answer"]
        embedding = Embedding(name, features, probe.images, columns, rows)
        projector.write(Path(self.folder.tensorboard), embedding)
        return []


def compared(tally: Tally, validation_error: float | None) -> list[object]:
    """Return the figures that the tab HParams compares between runs; it shows the first by name."""
    figures = {"result/test_error": tally.top1_error, "result/validation_error": validation_error}
    return [tabs.figure(tag, value) for tag, value in figures.items() if value is not None]


def results(tally: Tally) -> object:
    """Return the test figures as a table."""
    return tabs.table(
        "run/0 test",
        ["", "value", "95 % interval"],
        [
            ["top-1 error", percent(tally.top1_error), interval(tally.top1_interval)],
            ["top-5 error", percent(tally.top5_error), interval(tally.top5_interval)],
            ["cross-entropy", f"{tally.cross_entropy:.4f}", ""],
            ["images", f"{tally.num_images:,}", ""],
        ],
    )


LEARNING = (
    *("model", "dataset", "augment", "loss", "optimizer", "schedule", "trainer"),
    *("ema", "which_weights", "seed"),
)
"""Sections that decide what is learned; the others, where it runs and what is shown of it."""


def hyperparameters(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide what is learned, by dotted key, without those left null."""
    found = flat({section: plain[section] for section in LEARNING})
    return {key: value for key, value in found.items() if value is not None}


@torch.no_grad()
def look(network: Network, probe: Probe, layer: str) -> tuple[Tensor, Tensor]:
    """Return a layer's output for the probe's images, float [N,D], and the classes predicted."""
    features, predicted = [], []
    with eval_mode(network):
        for part in in_parts(len(probe.images), BATCH):
            for one, maps in each_layer(network, probe.normalize(probe.images[part])):
                if one.name == layer:
                    features.append(maps.flatten(1).float().cpu())
            predicted.append(maps.argmax(1).cpu())
    return torch.cat(features), torch.cat(predicted)


def _wrapped(command: str) -> str:
    """Return a command on several lines, which a shell reads as one."""
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:
        return command

    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) < COMMAND_WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return " \\\n  ".join(lines)


def _answer(name: str, predicted: str) -> str:
    return name if name == predicted else f"{name}, taken for {predicted}"


def _size(size: list[int]) -> str:
    return " x ".join(map(str, size))
