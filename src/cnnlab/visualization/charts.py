"""Charts from plain values: curves over epochs, confusion matrix, reliability diagram."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cnnlab.safe_output import escape_control
from cnnlab.visualization.figures import BLUE, HEAT_MAP, LINES, ORANGE, Picture, new_figure, show

MOST_CLASSES = 43
"""The most classes of a confusion matrix that can be read as a picture: those of GTSRB."""

Curve = Sequence[tuple[float, float]]
"""(x, y), by ascending x."""


def curves(
    name: str,
    title: str,
    lines: Mapping[str, Curve],
    y_label: str,
    *,
    logarithmic: bool = False,
) -> Picture:
    """Draw one line per name over the epochs; lines differ in color, dash and marker."""
    figure = new_figure(4.8, 3.2, title)
    axes = figure.add_subplot()

    for i, (label, points) in enumerate(lines.items()):
        color, dash, marker = LINES[i % len(LINES)]
        every = max(1, len(points) // 12)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=color,
            linestyle=dash,
            marker=marker,
            markersize=4,
            markevery=every,
            label=f" {escape_control(label)}",  # a legend omits labels that start with "_"
        )

    if logarithmic and all(y > 0 for points in lines.values() for _, y in points):
        axes.set_yscale("log")
    if max((x for points in lines.values() for x, _ in points), default=0) >= 2:
        axes.locator_params(axis="x", integer=True)

    axes.set_xlabel("epoch")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return Picture(name, title, f"{y_label} over the epochs.", figure, {"lines": dict(lines)})


def confusion(counts: Tensor, class_names: Sequence[str], title: str) -> Picture:
    """Draw a confusion matrix, counts int64 [K,K] of (true, predicted), as fractions of its rows.

    With up to 12 classes each cell also shows its count.
    """
    num = len(class_names)
    class_names = [escape_control(name) for name in class_names]
    side = max(4.0, min(9.0, 0.38 * num + 1.2))
    figure = new_figure(side, side, title)
    axes = figure.add_subplot()

    totals = counts.sum(1, keepdim=True).clamp_min(1)
    shares = (counts.double() / totals).numpy()
    axes.imshow(shares, cmap=HEAT_MAP, vmin=0, vmax=1)
    axes.set_xticks(range(num), class_names, rotation=90, fontsize=8)
    axes.set_yticks(range(num), class_names, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")

    if num <= 12:
        for row in range(num):
            for column in range(num):
                shade = "black" if shares[row, column] > 0.5 else "white"
                text = str(int(counts[row, column]))
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)

    caption = "Rows: true classes; columns: predicted classes; color: fraction of the row."
    return Picture("confusion", title, caption, figure, {"counts": counts.tolist()})


def worst_pairs(counts: Tensor, class_names: Sequence[str], number: int = 20) -> list[list[str]]:
    """Return the most frequent confusions: true class, predicted, count, percent of the class."""
    labels, predicted = counts.nonzero(as_tuple=True)  # of K*K pairs few occur
    wrong = labels != predicted
    labels, predicted = labels[wrong], predicted[wrong]
    most = counts[labels, predicted].sort(descending=True, stable=True).indices[:number]

    totals = counts.sum(1).clamp_min(1)
    rows = []
    for label, other in zip(labels[most].tolist(), predicted[most].tolist(), strict=True):
        count = int(counts[label, other])
        share = f"{100 * count / int(totals[label]):.1f} %"
        rows.append([class_names[label], class_names[other], str(count), share])
    return rows


def reliability(
    bin_counts: Tensor, bin_hits: Tensor, confidence_sums: Tensor, title: str
) -> Picture:
    """Draw a reliability diagram: accuracy per confidence bin, and the images in each bin.

    Source: Guo et al. 2017, figure 1.
    """
    figure = new_figure(4.8, 4.6, title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = 1 / len(bin_counts)
    edges = torch.arange(len(bin_counts)).double() * width

    filled = bin_counts > 0
    accuracy = (bin_hits / bin_counts.clamp_min(1)).double()
    upper.bar(edges[filled].numpy(), accuracy[filled].numpy(), width, align="edge", color=BLUE,
              edgecolor="white", label="accuracy")  # fmt: skip
    means = (confidence_sums / bin_counts.clamp_min(1))[filled]
    upper.plot(means.numpy(), accuracy[filled].numpy(), "o", color=ORANGE, label="mean confidence")
    upper.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="perfect")
    upper.set_ylabel("accuracy")
    upper.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)

    lower.bar(edges.numpy(), bin_counts.numpy(), width, align="edge", color=BLUE, edgecolor="white")
    lower.set_yscale("symlog", linthresh=1)
    lower.set_xlabel("confidence")
    lower.set_ylabel("images")

    caption = "Calibrated: bars on the diagonal; of the images at confidence 0.8, 80 % are right."
    facts = {"counts": bin_counts.tolist(), "hits": bin_hits.tolist()}
    return Picture("reliability", title, caption, figure, facts)


def captioned(name: str, title: str, images: Tensor, captions: Sequence[str]) -> Picture:
    """Draw uint8 images [n,C,H,W], six per row, each with its caption."""
    columns = min(6, len(captions))
    rows = -(-len(captions) // columns)
    figure = new_figure(2 * columns, 2.3 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False)

    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        show(axes, image / 255)
        axes.set_title(escape_control(caption).replace(", ", ",\n", 1), fontsize=7, pad=2)
    return Picture(name, title, "", figure)
