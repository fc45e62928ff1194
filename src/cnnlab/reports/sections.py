"""The sections of a report page, made of counts, images and plain settings."""

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import yaml
from PIL import Image
from torch import Tensor

from cnnlab.data.store import Store
from cnnlab.evaluation.metrics import MOST_CONFUSED_CLASSES, Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.percentages import interval, percent
from cnnlab.reports.page import Figure, Gallery, Part, Scale, Section, Table, Text
from cnnlab.visualization import charts, confusions
from cnnlab.visualization.figures import Picture, render
from cnnlab.visualization.grid import signed_to_gray

MOST_KERNELS = 96
OPEN_CLASSES = 20
"""Up to so many classes their table is unfolded."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What the evaluation of a set of images found.

    description: of the images, in words. missed: the images of `misses`, uint8 [n,C,H,W].
    """

    description: str
    class_names: Sequence[str]
    tally: Tally
    misses: Sequence[Miss]
    missed: Tensor

    @classmethod
    def on(cls, store: Store, tally: Tally, misses: Sequence[Miss], remark: str = "") -> Self:
        """Read the misclassified images of `store`. remark: what to add to its description."""
        missed = torch.empty(0, dtype=torch.uint8)
        if misses:
            indices = torch.tensor([miss.index for miss in misses], dtype=torch.int64)
            missed = store.read(indices).permute(0, 3, 1, 2)

        description = "; ".join(filter(None, (store.describe(), remark)))
        return cls(description, store.class_names, tally, misses, missed)


def errors(tally: Tally) -> Table:
    """Return errors and their intervals."""
    return Table(
        ["", "value", "95 % interval"],
        [
            ["top-1 error", percent(tally.top1_error), interval(tally.top1_interval)],
            ["top-5 error", percent(tally.top5_error), interval(tally.top5_interval)],
            ["cross-entropy", f"{tally.cross_entropy:.4f}", ""],
            ["calibration error", percent(tally.calibration_error), ""],
            ["wrong", f"{tally.top1_errors:,} of {tally.num_images:,}", ""],
        ],
    )


def figure(picture: Picture) -> Figure:
    """Return a drawn picture as a figure of the page."""
    with missing_glyphs_as_boxes():
        caption = f"{picture.caption} {picture.missing}".strip()
        return Figure(render(picture, "png"), caption, picture.title, picture.is_plot)


@contextlib.contextmanager
def missing_glyphs_as_boxes() -> Iterator[None]:
    """Draw class names in scripts that the font lacks as boxes, without one warning per glyph."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def pictures(name: str, drawn: Iterable[Picture]) -> Section:
    """Return what was drawn for one entry of PICTURES."""
    return Section(name.replace("_", " ").capitalize(), [figure(picture) for picture in drawn])


def confusion(found: Findings) -> Section:
    """Return the confusion matrix, of many classes an overview, and the most confused pairs."""
    matrix, names = found.tally.confusion, found.class_names
    if matrix is None:
        return Section("Confusion", [Text(no_confusion_matrix(len(names)))])

    drawn = confusions.confusion(matrix, names, "confusion matrix")
    parts: list[Part] = [figure(picture) for picture in drawn]
    if pairs := confusions.worst_pairs(matrix, names):
        parts.append(Table(["true class", "predicted", "images", "of the class"], pairs))
    return Section("Confusion", parts)


def no_confusion_matrix(num_classes: int) -> str:
    """Return why there is no confusion matrix."""
    return (
        f"No confusion matrix is kept of {num_classes:,} classes: "
        f"it has a row and a column for each, and the most is {MOST_CONFUSED_CLASSES:,}."
    )


def classes(found: Findings) -> Section:
    """Return the accuracy of each class, the worst first; classes without images at the end."""
    tally, names = found.tally, found.class_names
    rows = sorted(
        zip(tally.class_accuracies, names, tally.class_images.tolist(), strict=True),
        key=lambda row: 2.0 if row[0] is None else row[0],
    )
    cells = [
        [name, "no images" if accuracy is None else percent(accuracy), f"{total:,}"]
        for accuracy, name, total in rows
    ]

    table = Table(["class", "accuracy", "images"], cells)
    is_long = len(names) > OPEN_CLASSES
    return Section("Classes, the worst first", [table], folded=is_long, half=True)


def calibration(tally: Tally) -> Section:
    """Return the reliability diagram."""
    picture = charts.reliability(
        tally.bin_counts, tally.bin_hits, tally.bin_confidence_sums, "reliability"
    )
    error = f"expected calibration error {percent(tally.calibration_error)} over 15 bins"
    return Section("Calibration", [Text(error), figure(picture)], half=True)


def misses(found: Findings) -> Section:
    """Return the misclassified images of highest confidence."""
    if not found.misses:
        return Section("Worst misses", [Text("No image was misclassified.")])
    images = [
        (png(image), _lines_of(miss, found.class_names))
        for image, miss in zip(found.missed, found.misses, strict=True)
    ]
    note = "Below each image: its class, the answer, and the likeliest classes."
    return Section("Worst misses", [Text(note), Gallery(images)])


def miss_captions(found: Findings) -> list[str]:
    """Return 'Shirt, taken for Coat (99.80 %)' for each misclassified image."""
    names = found.class_names
    return [
        f"{names[miss.label]}, taken for {names[miss.predicted]} ({percent(miss.confidence)})"
        for miss in found.misses
    ]


def _lines_of(miss: Miss, names: Sequence[str]) -> list[str]:
    """Return the lines below a miss, with the true class also where it is not among the likeliest.

    Its place is what a miss is judged by: second, or nowhere.
    """
    shown = list(miss.likeliest)
    if miss.label not in (label for label, _ in shown):
        shown.append((miss.label, miss.label_probability))

    head = f"{names[miss.label]}, taken for {names[miss.predicted]}"
    return [
        head,
        *(f"{names[label]}: {percent(share)}" for label, share in shown),
        f"image {miss.index}",
    ]


def kernels(weight: Tensor) -> Section:
    """Return first-layer kernels [N,C,h,w] as images, zero as gray; none where C is not 1 or 3."""
    if weight.dim() != 4 or weight.shape[1] not in (1, 3):
        return Section("First-layer kernels")

    shown = weight.detach().float().cpu()[:MOST_KERNELS]
    levels = (signed_to_gray(shown) * 255).round().to(torch.uint8)
    largest = shown.flatten(1).abs().amax(1).tolist()
    images = [
        (png(kernel), [f"{i}: {scale:.2g}"])
        for i, (kernel, scale) in enumerate(zip(levels, largest, strict=True))
    ]

    note = "Below each kernel: its number, and its largest weight w, by which it is scaled."
    parts: list[Part] = [Text(note), Scale("-w", "0", "+w"), Gallery(images, is_dense=True)]
    return Section("First-layer kernels", parts, half=True)


def settings(config: dict[str, Any], heading: str = "Settings") -> Section:
    """Return a plain config as YAML."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return Section(heading, [Text(text, preformatted=True)], folded=True)


def environment(facts: dict[str, Any], command: str) -> Section:
    """Return the command, and the versions and machine it ran on."""
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    return Section("Made by", [Text(command, preformatted=True), Text(text, preformatted=True)])


def png(image: Tensor) -> bytes:
    """Return uint8 [C,H,W] of one or three channels as PNG."""
    stream = io.BytesIO()
    levels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    Image.fromarray(levels.contiguous().numpy()).save(stream, "PNG")
    return stream.getvalue()
