"""Curves over the epochs: loss and error of one run, or one figure of several runs."""

from collections.abc import Iterator, Mapping, Sequence

from cnnlab.visualization import charts
from cnnlab.visualization.figures import Picture

Epochs = Sequence[Mapping[str, float]]
"""The rows of metrics.csv, one per epoch; each has the figures that were measured then."""

COMPARED = (
    ("error", "top-1 error on validation", "validation/top1_error"),
    ("loss", "loss on validation", "validation/loss"),
    ("training_loss", "loss on training images", "train/loss"),
)
"""Name, label and key of the figures that are compared between runs."""


def loss_and_error(epochs: Epochs) -> list[Picture]:
    """Draw loss and validation error of one run; a figure without values is left out."""
    loss = {
        "training": points(epochs, "train/loss"),
        "validation": points(epochs, "validation/loss"),
    }
    errors = {
        "top-1, validation": points(epochs, "validation/top1_error"),
        "top-5, validation": points(epochs, "validation/top5_error"),
        "top-1, raw weights": points(epochs, "validation/raw_top1_error"),
        "top-1, averaged weights": points(epochs, "validation/ema_top1_error"),
    }

    drawn = []
    for name, label, lines in (("loss", "loss", loss), ("error", "error", errors)):
        if measured := _measured(lines):
            title = f"{label} over the epochs"
            drawn.append(charts.curves(name, title, measured, label, is_error=name == "error"))
    return drawn


def overlaid(runs: Mapping[str, Epochs]) -> Iterator[Picture]:
    """Draw each compared figure, one line per run; a figure that no run has is left out.

    runs: the epochs of each run by its label.
    """
    for name, label, key in COMPARED:
        if measured := _measured({run: points(epochs, key) for run, epochs in runs.items()}):
            yield charts.curves(name, label, measured, label, is_error=name == "error")


def points(epochs: Epochs, key: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of the epochs that have the figure."""
    return [(row["epoch"], row[key]) for row in epochs if key in row and "epoch" in row]


def _measured(lines: Mapping[str, list[tuple[float, float]]]) -> dict[str, charts.Curve]:
    return {name: line for name, line in lines.items() if line}
