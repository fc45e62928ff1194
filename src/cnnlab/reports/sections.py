"""The parts of a report page, from figures and pictures to sections."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import yaml
from PIL import Image
from torch import Tensor

from cnnlab.data.store import Store
from cnnlab.evaluation.metrics import MOST_CONFUSED_CLASSES, Tally
from cnnlab.evaluation.observers import Miss
from cnnlab.models import Network
from cnnlab.percentages import interval, percent
from cnnlab.reports.page import Figure, Gallery, Part, Section, Table, Text
from cnnlab.visualization import charts
from cnnlab.visualization.figures import Picture, render
from cnnlab.visualization.grid import signed_to_gray

MOST_KERNELS = 96


def figures(tally: Tally) -> Table:
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


def drawn(picture: Picture) -> Figure:
    """Return a picture as a figure of the page."""
    with unknown_letters_as_boxes():
        return Figure(render(picture, "png"), picture.caption, picture.title)


@contextlib.contextmanager
def unknown_letters_as_boxes() -> Iterator[None]:
    """Let class names in scripts that the font lacks be drawn as boxes, without a warning each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def confusion(tally: Tally, class_names: Sequence[str]) -> Section:
    """Return the confusion matrix where it is readable, and the worst pairs where it was kept."""
    parts: list[Part] = []
    if tally.confusion is None:
        return Section("Confusion", [Text(unconfused(len(class_names)))])
    if len(class_names) <= charts.MOST_CLASSES:
        parts.append(drawn(charts.confusion(tally.confusion, class_names, "confusion matrix")))
    pairs = charts.worst_pairs(tally.confusion, class_names)
    if pairs:
        parts.append(Table(["truth", "answer", "images", "of the class"], pairs))
    return Section("Confusion", parts)


def unconfused(num_classes: int) -> str:
    """Say why there is no confusion matrix."""
    return (
        f"No confusion matrix is kept of {num_classes:,} classes: "
        f"it has a row and a column for each, and the most is {MOST_CONFUSED_CLASSES:,}."
    )


def classes(tally: Tally, class_names: Sequence[str]) -> Section:
    """Return the accuracy of each class, the worst first; classes without images at the end."""
    totals = tally.class_images.tolist()
    rows = sorted(
        zip(tally.class_accuracies, class_names, totals, strict=True),
        key=lambda row: 2.0 if row[0] is None else row[0],
    )
    cells = [
        [name, "no images" if accuracy is None else percent(accuracy), f"{total:,}"]
        for accuracy, name, total in rows
    ]
    table = Table(["class", "accuracy", "images"], cells)
    return Section("Classes, the worst first", [table], folded=len(class_names) > 20)


def calibration(tally: Tally) -> Section:
    """Return the reliability diagram."""
    picture = charts.reliability(
        tally.bin_counts, tally.bin_hits, tally.bin_confidence_sums, "reliability"
    )
    error = f"expected calibration error {percent(tally.calibration_error)} over 15 bins"
    return Section("Calibration", [Text(error), drawn(picture)])


def misses(found: Sequence[Miss], store: Store) -> Section:
    """Return the wrong answers given with the most confidence, with their pictures."""
    if not found:
        return Section("Worst misses", [Text("No image was misjudged.")])
    images = store.read(indices_of(found)).permute(0, 3, 1, 2)
    pictures = [
        (png(image), f"{miss_caption(miss, store.class_names)}; image {miss.index}")
        for image, miss in zip(images, found, strict=True)
    ]
    return Section("Worst misses", [Gallery(pictures)])


def indices_of(found: Sequence[Miss]) -> Tensor:
    """Return the places of the misjudged images in their split, int64 [n]."""
    return torch.tensor([miss.index for miss in found], dtype=torch.int64)


def miss_caption(miss: Miss, class_names: Sequence[str]) -> str:
    """Return 'Shirt, taken for Coat (99.80 %)'."""
    truth, answer = class_names[miss.label], class_names[miss.predicted]
    return f"{truth}, taken for {answer} ({percent(miss.confidence)})"


def kernels(network: Network) -> Section:
    """Return the first layer's kernels, each stretched to its own range around gray."""
    first = next(network.parameters()).detach().cpu()
    if first.dim() != 4 or first.shape[1] not in (1, 3):
        return Section("First-layer kernels")
    gray = (signed_to_gray(first[:MOST_KERNELS]) * 255).round().to(torch.uint8)
    pictures = [(png(kernel), f"kernel {i}") for i, kernel in enumerate(gray)]
    return Section("First-layer kernels", [Gallery(pictures)])


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
