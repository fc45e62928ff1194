"""The report of a training run: report.html in its folder, and its pictures for TensorBoard."""

import csv
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from cnnlab.data.store import Store
from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.percentages import percent
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.page import Section, Text
from cnnlab.run_folder import RunFolder
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.pictures import sections_of_run
from cnnlab.trainer.reporter import Reporter
from cnnlab.visualization import charts
from cnnlab.visualization.figures import Picture, to_pixels

MADE_BY = ("device", "started", "ended", "host", "platform", "num_processors", "versions", "git")
"""What run.json knows of the machine."""


def finish(
    parts: Assembly, folder: RunFolder, reporter: Reporter, tally: Tally, misses: Sequence[Miss]
) -> None:
    """Write the page and TensorBoard's pictures; what cannot be drawn is a line, not a failure."""
    store, step = parts.splits.test, reporter.progress.state.step
    try:
        with sections.unknown_letters_as_boxes():
            inside = sections_of_run(parts, f"step {step}")
            pictures = pictures_of_test(store, tally, misses)
        write(folder, store, tally, misses, [*inside, sections.kernels(parts.network)])
        for tag, pixels in pictures:
            reporter.writers.images(step, tag, pixels)
    except Exception as error:  # the run is done and saved whatever a drawing library does
        reporter.console.line(f"warning: no report: {type(error).__name__}: {error}")


def write(
    folder: RunFolder,
    store: Store,
    tally: Tally,
    misses: Sequence[Miss],
    inside: Sequence[Section],
) -> Path:
    """Write report.html from the run's own files and its test; return its path.

    inside: the sections that look into the network.
    """
    facts = folder.status()
    first: list[report.Part] = [
        Text(f"{store.describe()}; seed {facts.get('seed')}"),
        sections.figures(tally),
    ]
    best = facts.get("best_validation_error")
    if isinstance(best, float):
        first.append(Text(f"best validation error {percent(best)}, which chose the network tested"))
    page = [
        Section("Test figures", first),
        Section("Curves", [sections.drawn(picture) for picture in curves(read_epochs(folder))]),
        sections.confusion(tally, store.class_names),
        sections.misses(misses, store),
        sections.classes(tally, store.class_names),
        sections.calibration(tally),
        *inside,
        sections.settings(folder.read_config()),
        sections.environment(
            {key: facts[key] for key in MADE_BY if key in facts}, str(facts.get("command", ""))
        ),
    ]
    title = f"{facts.get('model')} on {facts.get('dataset')}: {folder.path.name}"
    return report.write(folder.path / "report.html", title, page)


def read_epochs(folder: RunFolder) -> list[dict[str, float]]:
    """Return the rows of metrics.csv, one an epoch; empty cells are left out."""
    try:
        text = (folder.path / "metrics.csv").read_text(encoding="utf-8")
    except OSError:
        return []
    rows = csv.DictReader(text.splitlines())
    return [{key: float(cell) for key, cell in row.items() if key and cell} for row in rows]


def curves(epochs: Sequence[dict[str, float]]) -> list[Picture]:
    """Draw loss and validation error over the epochs; nothing for a run of none."""
    loss = {"training": curve(epochs, "train/loss"), "validation": curve(epochs, "validation/loss")}
    errors = {
        "top-1, validation": curve(epochs, "validation/top1_error"),
        "top-5, validation": curve(epochs, "validation/top5_error"),
    }
    drawn = []
    for name, label, lines in (("loss", "loss", loss), ("error", "error", errors)):
        filled = {key: points for key, points in lines.items() if points}
        if filled:
            title = f"{label} over the epochs"
            drawn.append(charts.curves(name, title, filled, label, logarithmic=name == "loss"))
    return drawn


def curve(epochs: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of the rows that have the figure."""
    return [(row["epoch"], row[key]) for row in epochs if key in row and "epoch" in row]


def pictures_of_test(
    store: Store, tally: Tally, misses: Sequence[Miss]
) -> list[tuple[str, Tensor]]:
    """Return (tag, uint8 [3,H,W]) of the confusion matrix and the worst misses."""
    pictures: list[tuple[str, Tensor]] = []
    if tally.confusion is not None and len(store.class_names) <= charts.MOST_CLASSES:
        matrix = charts.confusion(tally.confusion, store.class_names, "confusion matrix")
        pictures.append(("test/confusion", to_pixels(matrix)))
    if misses:
        sheet = charts.captioned(
            "worst_misses",
            "worst misses: truth, answer, confidence",
            store.read(sections.indices_of(misses)).permute(0, 3, 1, 2),
            [sections.miss_caption(miss, store.class_names) for miss in misses],
        )
        pictures.append(("test/worst_misses", to_pixels(sheet)))
    return pictures
