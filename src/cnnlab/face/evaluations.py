"""`cnnlab.evaluate` and what it returns."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cnnlab import notebook
from cnnlab.app.evaluate import measured
from cnnlab.command import calling
from cnnlab.config import EvaluateConfig, Launch
from cnnlab.inference import report
from cnnlab.inference.result import EvaluationResult, document
from cnnlab.percentages import interval, percent

TAKEN = (
    *("checkpoint", "split", "dataset", "dataset.", "evaluation", "evaluation.", "runtime"),
    *("runtime.", "weights", "which_weights", "batch_size", "save_probabilities", "output"),
    "plugins",
)
"""Settings of the command; `format` says how it prints."""


class Evaluation:
    """The errors of a network, or of an ensemble, on the images of a split. Errors are fractions.

    page: the report for people; None where no folder was known. document: the same as plain data,
    with the members of an ensemble.
    """

    def __init__(self, result: EvaluationResult, page: Path | None = None) -> None:
        self.page, self.document = page, document(result)
        self._title, self._tally = result.title, result.tally
        self.class_names = result.store.class_names

    @property
    def top1_error(self) -> float:
        """Return the share of images whose most probable class is wrong."""
        return self._tally.top1_error

    @property
    def top5_error(self) -> float:
        """Return the share of images whose class is not among the five most probable ones."""
        return self._tally.top5_error

    @property
    def cross_entropy(self) -> float:
        """Return the mean negative log-probability of the true class, in nats."""
        return self._tally.cross_entropy

    @property
    def num_images(self) -> int:
        """Return how many images were classified."""
        return self._tally.num_images

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the top-1 error."""
        return self._tally.top1_interval

    @property
    def confusion(self) -> Tensor | None:
        """Return int64 [K,K], a row for each true class; None for very many classes."""
        return self._tally.confusion

    def __repr__(self) -> str:
        return f"<Evaluation: {self._title}: top-1 error {percent(self.top1_error)}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        rows: Sequence[Sequence[object]] = [
            ["top-1 error", percent(self.top1_error), interval(self.interval)],
            ["top-5 error", percent(self.top5_error), interval(self._tally.top5_interval)],
            ["cross-entropy", f"{self.cross_entropy:.4f}", ""],
            ["images", f"{self.num_images:,}", ""],
        ]
        return notebook.table(self._title, rows, ["", "value", "95 % interval"])


def evaluate(*words: str, **settings: Any) -> Evaluation:
    """Measure the errors of checkpoints as `cnnlab evaluate` with these words; print nothing.

    settings: checkpoint=PATH or a run or a list of them (an ensemble), evaluation="five_crop", ...
    The report is written as by the command: into the checkpoint's run folder, or output=FOLDER.
    """
    calling.refuse_others(words, settings, TAKEN)

    def load() -> Callable[[EvaluateConfig, Launch], Evaluation]:
        return _task

    return calling.call("evaluate", words, settings, load)


def _task(config: EvaluateConfig, launch: Launch) -> Evaluation:
    result, folder, is_first = measured(config, launch)
    page = None
    if is_first and folder is not None:
        page = report.write(result, folder, launch.command)
    return Evaluation(result, page)
