"""Grids of numbers, drawn cell by cell: a map with its padding, and the windows over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnlab.geometry import Window
from cnnlab.visualization.figures import BLACK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Sequence[Sequence[float]]
Cell = tuple[int, int]
"""(row, column); negative or beyond the last one in the padding."""

PADDING_FILL, LINE = "#e4e4e4", "#9a9a9a"


@dataclass(frozen=True)
class NumberGrid:
    """Numbers in square cells of side 1. left, top: of the first cell, y downwards.

    fills: color of some cells. padding: cells of zeros around the numbers, drawn gray.
    """

    numbers: Numbers
    left: float = 0.0
    top: float = 0.0
    fills: Mapping[Cell, str] = field(default_factory=dict)
    padding: int = 0
    font_size: float = 9.0

    @property
    def height(self) -> int:
        """Return the number of rows without padding."""
        return len(self.numbers)

    @property
    def width(self) -> int:
        """Return the number of columns without padding."""
        return len(self.numbers[0])

    def draw(self, axes: "Axes") -> None:
        """Draw all cells, those of the padding first."""
        for row in range(-self.padding, self.height + self.padding):
            for column in range(-self.padding, self.width + self.padding):
                self._draw_cell(axes, (row, column))

    def outline(self, axes: "Axes", first: Cell, side: int, color: str) -> None:
        """Draw a thick square around `side` cells from `first` on."""
        from matplotlib.patches import Rectangle

        corner = self.left + first[1], self.top + first[0]
        square = Rectangle(corner, side, side, fill=False, edgecolor=color, lw=2.2, zorder=4)
        axes.add_patch(square)

    def _draw_cell(self, axes: "Axes", cell: Cell) -> None:
        from matplotlib.patches import Rectangle

        row, column = cell
        is_inside = 0 <= row < self.height and 0 <= column < self.width
        fill = self.fills.get(cell, "white" if is_inside else PADDING_FILL)
        corner = self.left + column, self.top + row
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=fill, edgecolor=LINE, lw=0.6))

        number = self.numbers[row][column] if is_inside else 0
        axes.text(
            corner[0] + 0.5,
            corner[1] + 0.5,
            f"{number:g}".replace("-", "\u2212"),
            ha="center",
            va="center",
            fontsize=self.font_size,
            color=BLACK if is_inside else LINE,
            zorder=5,
        )


def taps(window: Window, position: Cell) -> list[Cell]:
    """Return the cells that the window reads at an output position, row by row."""
    top, left = (window.stride * place - window.padding for place in position)
    steps = range(0, window.extent, window.dilation)
    return [(top + row, left + column) for row in steps for column in steps]


def slide(numbers: Numbers, kernel: Numbers, window: Window) -> list[list[float]]:
    """Return the cross-correlation of a square map with a kernel; zeros in the padding.

    Source: the lecture, "sum of I(x + u, y + v) K(u, v)".
    """
    side = window.output_size(len(numbers))
    weights = [weight for row in kernel for weight in row]
    return [
        [
            sum(
                weight * value_at(numbers, cell)
                for weight, cell in zip(weights, taps(window, (row, column)), strict=True)
            )
            for column in range(side)
        ]
        for row in range(side)
    ]


def value_at(numbers: Numbers, cell: Cell) -> float:
    """Return the number in a cell, 0 in the padding."""
    row, column = cell
    is_inside = 0 <= row < len(numbers) and 0 <= column < len(numbers[0])
    return numbers[row][column] if is_inside else 0


def clear(axes: "Axes", width: float, height: float, *, left: float = 0, top: float = 0) -> None:
    """Prepare axes for cells: equal sides, y downwards, no ticks."""
    axes.set_xlim(left - 0.1, left + width + 0.1)
    axes.set_ylim(top + height + 0.1, top - 0.1)
    axes.set_aspect("equal")
    axes.set_axis_off()


def write(axes: "Axes", x: float, y: float, text: str, size: float = 9) -> None:
    """Write centered text at a place in cells."""
    axes.text(x, y, text, ha="center", va="center", fontsize=size)
