"""A picture of one's own, what a network saw of it, and the classes it answered."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from cnnlab.percentages import percent
from cnnlab.safe_output import escape_control
from cnnlab.visualization import grid
from cnnlab.visualization.figures import BLUE, ORANGE, Picture, frame, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_SIDE_PIXELS = 300
LONGEST_TITLE, LONGEST_CLASS = 72, 22
MOST_BARS = 5


def draw_answer(
    name: str, title: str, given: Tensor, seen: Tensor, top: Sequence[tuple[str, float]]
) -> Picture:
    """Draw the picture given, the views that the network saw, and its likeliest classes.

    name: of the file. given uint8 [C,H,W]; seen uint8 [V,C,s,s]; top: (class, probability), the
    most probable first, of which five are drawn.
    """
    figure = new_figure(6.3, 2.7, _short(title, LONGEST_TITLE))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])

    small = grid.shrink(grid.pixels_to_unit(given[None]), LARGEST_SIDE_PIXELS)[0]
    height, width = given.shape[-2:]
    show(left, small, f"the file, {width} x {height} pixels")
    frame(left)

    views = grid.pixels_to_unit(seen)
    side = seen.shape[-1]
    sheet = grid.tile(views, grid.square_columns(len(views)), max(1, side // 24))
    what = "what the network saw" if len(seen) == 1 else f"the {len(seen)} views it saw"
    show(middle, sheet, f"{what}, {side} x {side}")
    frame(middle)

    _bars(right, top[:MOST_BARS])
    return Picture(name, title, "", figure)


def _bars(axes: "Axes", top: Sequence[tuple[str, float]]) -> None:
    """Draw the probabilities as bars, each with its class above it: names may be long."""
    places = range(len(top))
    colors = [ORANGE, *[BLUE] * (len(top) - 1)]
    axes.barh(places, [share for _, share in top], 0.4, color=colors)
    for place, (label, share) in enumerate(top):
        text = f"{_short(label, LONGEST_CLASS)}  {percent(share)}"
        axes.text(0, place - 0.27, text, fontsize=8, ha="left", va="bottom")

    axes.set_ylim(MOST_BARS - 0.4, -0.75)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(text: str, longest: int) -> str:
    shown = escape_control(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\u2026"
