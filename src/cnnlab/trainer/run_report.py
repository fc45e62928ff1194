"""The report of a finished training run, and its pictures of the test for TensorBoard."""

from collections.abc import Sequence

from torch import Tensor

from cnnlab.evaluation.metrics import Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.reports import run_page, sections
from cnnlab.reports.sections import Findings
from cnnlab.run_folder import RunFolder
from cnnlab.trainer.assemble import Assembly
from cnnlab.trainer.pictures import sections_of_run
from cnnlab.trainer.reporter import Reporter
from cnnlab.visualization import charts, confusions
from cnnlab.visualization.figures import to_pixels
from cnnlab.writers import read_epochs


def write(
    parts: Assembly, folder: RunFolder, reporter: Reporter, tally: Tally, misses: Sequence[Miss]
) -> None:
    """Write report.html and TensorBoard's pictures; an error while drawing is only a warning."""
    step = reporter.progress.state.step
    try:
        found = Findings.on(parts.splits.test, tally, misses)
        with sections.missing_glyphs_as_boxes():
            inside = sections_of_run(parts, f"step {step}")
            pictures = pictures_of_test(found)

        run_page.write(
            folder.path,
            found,
            folder.status(),
            folder.read_config(),
            read_epochs(folder.path / "metrics.csv"),
            sections.kernels(next(parts.judged.parameters())),
            inside,
        )
        for tag, pixels in pictures:
            reporter.writers.images(step, tag, pixels)
    except Exception as error:  # the run is done and saved whatever a drawing library does
        reporter.console.line(f"warning: no report: {type(error).__name__}: {error}")


def pictures_of_test(found: Findings) -> list[tuple[str, Tensor]]:
    """Return (tag, uint8 [3,H,W]) of the confusion matrix and the worst misses."""
    pictures: list[tuple[str, Tensor]] = []

    matrix, names = found.tally.confusion, found.class_names
    if matrix is not None:
        for drawn in confusions.confusion(matrix, names, "confusion matrix"):
            pictures.append((f"test/{drawn.name}", to_pixels(drawn)))

    if found.misses:
        title = "worst misses: true class, prediction, confidence"
        captions = sections.miss_captions(found)
        sheet = charts.captioned("worst_misses", title, found.missed, captions)
        pictures.append(("test/worst_misses", to_pixels(sheet)))
    return pictures
