"""Confusion matrices as pictures, of ten classes or a thousand, and the most confused pairs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.safe_output import escape_control
from cnnlab.visualization.axes import in_percent
from cnnlab.visualization.figures import HEAT_MAP, Picture, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 43
"""The most classes of a confusion matrix that can be read as a picture: those of GTSRB."""

MOST_BINS = 50
"""Rows of the overview of more classes."""

NUM_NAMED = 24
"""Classes with names beside it."""

WITH_COUNTS = 12
WIDTH_OF_COLUMN = 6.4
"""Inches of a picture that goes into one of a page's two columns."""

LONGEST_NAME = 24


def confusion(counts: Tensor, class_names: Sequence[str], title: str) -> list[Picture]:
    """Draw a confusion matrix, counts int64 [K,K] of (true, predicted), as fractions of its rows.

    More than 43 classes cannot be read: then an overview of neighboring classes together, and the
    matrix of those that are confused most.
    """
    if len(class_names) <= MOST_CLASSES:
        caption = "Rows: true classes; columns: predicted classes; color: fraction of the row."
        return [_named("confusion", title, caption, counts, counts.sum(1), class_names)]

    chosen = most_confused(counts, NUM_NAMED)
    drawn = [_overview(counts, title)]
    if len(chosen):
        caption = (
            f"The {len(chosen)} classes of the most frequent confusions, those that are confused "
            "with each other side by side; color: fraction of the class's images."
        )
        part, names = counts[chosen][:, chosen], [class_names[k] for k in chosen.tolist()]
        totals = counts.sum(1)[chosen]
        title = f"{title}: the most confused classes"
        drawn.append(
            _named("confusion_worst", title, caption, part, totals, names, WIDTH_OF_COLUMN)
        )
    return drawn


def most_confused(counts: Tensor, number: int) -> Tensor:
    """Return the classes of the most frequent confusions, int64 [n]; the pairs in order."""
    found: dict[int, None] = {}
    for label, other, _ in _wrong_pairs(counts, number):
        found |= {label: None, other: None}
    return torch.tensor(list(found)[:number], dtype=torch.int64)


def in_bins(counts: Tensor, size: int) -> Tensor:
    """Add up blocks of `size` neighboring classes: [K,K] -> [B,B], the last block smaller."""
    num = len(counts)
    of_class = torch.arange(num) // size
    num_bins = -(-num // size)
    rows = counts.new_zeros(num_bins, num).index_add_(0, of_class, counts)
    return counts.new_zeros(num_bins, num_bins).index_add_(1, of_class, rows)


def worst_pairs(counts: Tensor, class_names: Sequence[str], number: int = 20) -> list[list[str]]:
    """Return the most frequent confusions: true class, predicted, count, percent of the class."""
    totals = counts.sum(1).clamp_min(1)
    return [
        [
            class_names[label],
            class_names[other],
            str(count),
            f"{100 * count / int(totals[label]):.1f} %",
        ]
        for label, other, count in _wrong_pairs(counts, number)
    ]


def _wrong_pairs(counts: Tensor, number: int) -> list[tuple[int, int, int]]:
    """Return the most frequent confusions: true class, predicted class, images."""
    labels, predicted = counts.nonzero(as_tuple=True)  # of K*K pairs few occur
    wrong = labels != predicted
    labels, predicted = labels[wrong], predicted[wrong]
    images = counts[labels, predicted]
    most = images.sort(descending=True, stable=True).indices[:number]
    columns = (labels[most].tolist(), predicted[most].tolist(), images[most].tolist())
    return list(zip(*columns, strict=True))


def _named(
    name: str,
    title: str,
    caption: str,
    counts: Tensor,
    totals: Tensor,
    class_names: Sequence[str],
    most_inches: float = 9.0,
) -> Picture:
    """Draw counts [K,K] as fractions of `totals` [K]; with few classes each count is written."""
    num = len(class_names)
    side = max(4.0, min(most_inches, 0.38 * num + 1.2))
    figure = new_figure(side, side, title)
    axes = figure.add_subplot()

    shares = (counts.double() / totals.clamp_min(1)[:, None]).numpy()
    axes.imshow(shares, cmap=HEAT_MAP, vmin=0, vmax=1)
    names = [_short(escape_control(one)) for one in class_names]
    axes.set_xticks(range(num), names, rotation=90, fontsize=8)
    axes.set_yticks(range(num), names, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")

    if num <= WITH_COUNTS:
        for row in range(num):
            for column in range(num):
                shade = "black" if shares[row, column] > 0.5 else "white"
                text = str(int(counts[row, column]))
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)
    return Picture(name, title, caption, figure, {"counts": counts.tolist()})


def _overview(counts: Tensor, title: str) -> Picture:
    """Draw the whole matrix with neighboring classes together; rare confusions are visible."""
    from matplotlib.colors import PowerNorm

    num = len(counts)
    size = -(-num // MOST_BINS)
    binned = in_bins(counts, size)
    shares = binned.double() / binned.sum(1, keepdim=True).clamp_min(1)

    figure = new_figure(6.2, 5.6, title)
    axes = figure.add_subplot()
    norm = PowerNorm(0.35, vmin=0, vmax=1)  # half of the colors are for less than 14 %
    drawn = axes.imshow(shares.numpy(), cmap=HEAT_MAP, norm=norm)
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], shrink=0.8)
    in_percent(bar.ax.yaxis)
    _label_bins(axes, num, size)

    caption = (
        f"{num:,} classes in the order of the data set, {size} in a row and column: truth and "
        "answer. The color is the fraction of the row; half of the colors are for less than 14 %, "
        "so that rare confusions show."
    )
    return Picture("confusion", title, caption, figure, {"counts": binned.tolist(), "size": size})


def _label_bins(axes: "Axes", num: int, size: int) -> None:
    step = max(1, -(-num // size) // 8)
    places = range(0, -(-num // size), step)
    names = [f"{place * size:,}" for place in places]
    axes.set_xticks(places, names, fontsize=8)
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlabel("answer, number of the class")
    axes.set_ylabel("truth, number of the class")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\u2026"
