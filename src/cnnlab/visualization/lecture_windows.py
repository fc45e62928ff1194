"""The lecture's windows by example: convolution, padding, stride, dilation and pooling."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnlab.geometry import Window
from cnnlab.visualization.figures import BLUE, GREEN, ORANGE, PURPLE, Picture, new_figure
from cnnlab.visualization.number_grids import (
    Cell,
    NumberGrid,
    Numbers,
    clear,
    slide,
    taps,
    value_at,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGE: Numbers = (
    (1, 2, 9, 8, 9, 1, 0),
    (0, 1, 8, 9, 8, 2, 1),
    (2, 1, 9, 7, 9, 0, 1),
    (1, 0, 8, 9, 8, 1, 2),
    (0, 2, 9, 8, 7, 1, 0),
    (1, 1, 7, 9, 9, 2, 1),
    (2, 0, 8, 8, 9, 0, 1),
)
"""A bright vertical bar on a dark ground."""

KERNEL: Numbers = ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
"""Positive where it becomes brighter to the right, negative where it becomes darker."""

POOLED: Numbers = ((2, 14, 1, 4, 4, 1), (3, 4, 5, 2, 2, 3), (8, 9, 12, 3, 4, 7), (8, 3, 4, 3, 3, 4))
"""The slide's table; its two upper corners are ours, since they do not change its result."""

PALE = {BLUE: "#cfe4f3", ORANGE: "#fbdcc6", GREEN: "#c9ece0", PURPLE: "#f4e0ec"}
GAP = 2.2
"""Cells between two grids."""


@dataclass(frozen=True)
class Example:
    """A window over an image, and the positions to show: each with the color of its taps."""

    heading: str
    window: Window
    shown: dict[Cell, str]
    side: int = 7

    @property
    def image(self) -> Numbers:
        """Return the upper left part of IMAGE."""
        return [row[: self.side] for row in IMAGE[: self.side]]


def draw_windows() -> list[Picture]:
    """Draw convolution, padding, stride, dilation and pooling, each by example."""
    first, second = (0, 0), (0, 1)
    padding = [
        Example("no padding, P = 0", Window(3), {first: BLUE}, side=5),
        Example("zero padding, P = (K - 1)/2 = 1", Window(3, padding=1), {first: BLUE}, side=5),
    ]
    stride = [
        Example(f"S = {stride}", Window(3, stride=stride), {first: BLUE, second: ORANGE})
        for stride in (1, 2)
    ]
    dilation = [
        Example(f"D = {dilation}", Window(3, dilation=dilation), {first: BLUE})
        for dilation in (1, 2)
    ]

    return [
        _draw_convolution(),
        _draw_examples("padding", "convolution with padding", PADDING_CAPTION, padding),
        _draw_examples("stride", "convolution with stride", STRIDE_CAPTION, stride),
        _draw_examples("dilation", "convolution with dilation", DILATION_CAPTION, dilation),
        _draw_pooling(),
    ]


PADDING_CAPTION = (
    "The kernel is placed only where it fits, so that the map loses K - 1 rows and columns; with "
    "P = (K - 1)/2 zeros (gray) at each border the output is as large as the input."
)
STRIDE_CAPTION = (
    "Two neighboring positions, blue and orange. The stride is the step from one to the next: with "
    "S = 2 every other position is left out, and the map is half as large."
)
DILATION_CAPTION = (
    "The nine entries of the kernel, colored, are D pixels apart: with D = 2 a window spans "
    "D(K - 1) + 1 = 5 pixels, with as many weights as before."
)


def _draw_convolution() -> Picture:
    """Draw one position of a kernel over an image, and the sum that it gives."""
    image, position = Example("", Window(3), {}, side=5).image, (0, 1)
    output = slide(image, KERNEL, Window(3))
    read = taps(Window(3), position)

    title = "convolution: a kernel slides over the image"
    figure = new_figure(7.6, 3.5, title)
    axes = figure.subplots()
    kernel_at, output_at = 5 + GAP, 5 + 2 * GAP + 3
    clear(axes, output_at + 3, 7.0, top=-0.8)

    grids = (
        ("image I", NumberGrid(image, 0, 0, dict.fromkeys(read, PALE[BLUE]))),
        ("kernel K", NumberGrid(KERNEL, kernel_at, 1)),
        ("map", NumberGrid(output, output_at, 1, {position: PALE[BLUE]})),
    )
    for label, grid in grids:
        grid.draw(axes)
        write(axes, grid.left + grid.width / 2, grid.top - 0.4, label)
    grids[0][1].outline(axes, read[0], 3, BLUE)
    grids[2][1].outline(axes, position, 1, BLUE)
    write(axes, 5 + GAP / 2, 2.5, "\u2217", 18)
    write(axes, kernel_at + 3 + GAP / 2, 2.5, "=", 18)

    write(axes, (output_at + 3) / 2, 5.8, _written_sum(image, read, output[0][1]), 9)
    caption = (
        "At each position the nine numbers below the kernel are multiplied by its nine weights and "
        "summed: sum of I(x + u, y + v) K(u, v), a cross-correlation. This kernel finds edges: "
        "bright to its right is positive, dark negative."
    )
    facts = {"image": image, "kernel": KERNEL, "map": output}
    return Picture("convolution", title, caption, figure, facts)


def _written_sum(image: Numbers, read: list[Cell], total: float) -> str:
    """Return the terms of one output, row by row, as they are computed by hand."""
    weights = [weight for row in KERNEL for weight in row]
    terms = [
        f"{value_at(image, cell):g}·({weight:g})"
        if weight < 0
        else f"{value_at(image, cell):g}·{weight:g}"
        for weight, cell in zip(weights, read, strict=True)
    ]
    return f"{' + '.join(terms)} = {total:g}".replace("-", "\u2212")


def _draw_examples(name: str, title: str, caption: str, examples: list[Example]) -> Picture:
    """Draw one row per example: the input with its windows, and the output."""
    figure = new_figure(6.4, 0.5 + sum(_height(one) for one in examples) * 0.36, title)
    rows = figure.subplots(
        len(examples), 1, squeeze=False, height_ratios=[_height(one) for one in examples]
    )[:, 0]

    widest = max(_input_side(one) for one in examples)
    facts = {}
    for axes, example in zip(rows, examples, strict=True):
        output = slide(example.image, KERNEL, example.window)
        _draw_example(axes, example, output, widest)
        facts[example.heading] = output
    return Picture(name, title, caption, figure, facts)


def _input_side(example: Example) -> int:
    return example.side + 2 * example.window.padding


def _height(example: Example) -> float:
    return _input_side(example) + 1.3


def _draw_example(axes: "Axes", example: Example, output: Numbers, widest: int) -> None:
    """Draw the input in a field as wide as the widest one, then the output beside it."""
    window, pad = example.window, example.window.padding
    fills = {
        cell: PALE[color]
        for position, color in reversed(example.shown.items())
        for cell in taps(window, position)
    }
    grid = NumberGrid(example.image, (widest - example.side) / 2, 0, fills, pad)
    most = max(5, len(output))
    right = widest + GAP + 0.6
    top = (example.side - len(output)) / 2
    result = NumberGrid(
        output, right, top, {cell: PALE[color] for cell, color in example.shown.items()}
    )

    clear(axes, right + most, _height(example), top=-pad - 1.2)
    for one in (grid, result):
        one.draw(axes)
    for position, color in example.shown.items():
        grid.outline(axes, taps(window, position)[0], window.extent, color)
        result.outline(axes, position, 1, color)

    write(axes, widest + GAP / 2 + 0.3, example.side / 2, "\u2192", 16)
    heading = f"{example.heading}:  H' = {window.formula(example.side)}"
    write(axes, (right + most) / 2, -pad - 0.65, heading, 9)


def _draw_pooling() -> Picture:
    """Draw 2x2 pooling with stride 2: each block in a color, and its largest number and mean."""
    colors = (BLUE, ORANGE, GREEN)
    window = Window(2, stride=2)
    positions = [(row, column) for row in range(2) for column in range(3)]
    blocks = {position: taps(window, position) for position in positions}
    tint = {(row, column): colors[(row + column) % 3] for row, column in positions}

    def over(position: Cell) -> list[float]:
        return [value_at(POOLED, cell) for cell in blocks[position]]

    largest = [[max(over((row, column))) for column in range(3)] for row in range(2)]
    means = [[sum(over((row, column))) / 4 for column in range(3)] for row in range(2)]
    fills = {cell: PALE[tint[at]] for at in positions for cell in blocks[at]}
    kept = {at: PALE[tint[at]] for at in positions}

    title = "2x2 pooling, stride 2"
    figure = new_figure(7.6, 2.7, title)
    axes = figure.subplots()
    clear(axes, 6 + 2 * GAP + 6, 5.0, top=-0.8)
    grids = (
        ("map", NumberGrid(POOLED, 0, 0, fills)),
        ("largest: max pooling", NumberGrid(largest, 6 + GAP, 1, kept)),
        ("mean: average pooling", NumberGrid(means, 9 + 2 * GAP, 1, kept, font_size=8)),
    )
    for label, grid in grids:
        grid.draw(axes)
        write(axes, grid.left + grid.width / 2, grid.top - 0.4, label)
    for at in positions:
        best = max(blocks[at], key=lambda cell: value_at(POOLED, cell))
        grids[0][1].outline(axes, best, 1, tint[at])

    caption = (
        "Each block of four numbers becomes one: its largest (outlined) in max pooling, their mean "
        "in average pooling. There are no weights; wherever in its block the largest number is, "
        "max pooling gives the same."
    )
    facts = {"map": POOLED, "max": largest, "mean": means}
    return Picture("pooling", title, caption, figure, facts)
