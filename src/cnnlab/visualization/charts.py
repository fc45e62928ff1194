"""Charts from plain values: curves over epochs, reliability diagram, captioned images."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cnnlab.safe_output import escape_control
from cnnlab.visualization.axes import in_percent, logarithmic, plain_numbers
from cnnlab.visualization.figures import BLUE, LINES, ORANGE, Picture, new_figure, show

Curve = Sequence[tuple[float, float]]
"""(x, y), by ascending x."""


def curves(
    name: str,
    title: str,
    lines: Mapping[str, Curve],
    y_label: str,
    *,
    is_error: bool = False,
) -> Picture:
    """Draw one line per name over the epochs; lines differ in color, dash and marker.

    is_error: the values are fractions, shown in percent; others get a logarithmic axis.
    """
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

    heights = [y for points in lines.values() for _, y in points]
    if is_error:
        in_percent(axes.yaxis)
    elif heights:
        logarithmic(axes, min(heights), max(heights))
    if max((x for points in lines.values() for x, _ in points), default=0) >= 2:
        axes.locator_params(axis="x", integer=True)

    axes.set_xlabel("epoch")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    # the title says what it is: a caption would repeat it
    return Picture(name, title, "", figure, {"lines": dict(lines)}, is_plot=True)


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
    plain_numbers(lower.yaxis)
    in_percent(upper.yaxis)
    in_percent(lower.xaxis)
    lower.set_xlabel("confidence")
    lower.set_ylabel("images")

    caption = "Calibrated: bars on the diagonal; of the images at confidence 80 %, 80 % are right."
    facts = {"counts": bin_counts.tolist(), "hits": bin_hits.tolist()}
    return Picture("reliability", title, caption, figure, facts, is_plot=True)


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
