"""A picture: a matplotlib figure with title and caption, saved as PNG or SVG or read as pixels.

matplotlib is imported when the first figure is made, and needs no display.
"""

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnlab.errors import NumericsError
from cnnlab.files import atomic
from cnnlab.plain_json import first_not_finite
from cnnlab.safe_output import escape_control
from cnnlab.visualization.grid import DRAWN, tile
from cnnlab.visualization.numbers import as_csv, as_json

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DOTS_PER_INCH = 100
LARGEST_SIDE_PIXELS = 2000
DRAWN_FORMATS, NUMBER_FORMATS = ("png", "svg"), ("json", "csv")
FORMATS = (*DRAWN_FORMATS, *NUMBER_FORMATS)

# Okabe and Ito's palette: distinguishable with the common kinds of color blindness, and in print.
BLUE, ORANGE, GREEN, SKY, PURPLE, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
LINES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (SKY, "-", "v"),
    (BLACK, "--", "x"),
)
HEAT_MAP = "cividis"


@dataclass(frozen=True)
class Picture:
    """One drawn picture.

    name: of its files. title: model, layer, unit, set, checkpoint. caption: how to read it, shown
    below it on a page. facts: the numbers it shows, as plain data; None where there is no value.
    missing: what was not there to be drawn, and how to get it. is_plot: of lines, without images.
    Raises NumericsError where one of them is not finite.
    """

    name: str
    title: str
    caption: str
    figure: "Figure"
    facts: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    is_plot: bool = False
    _rendered: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (key := first_not_finite(self.facts)) is not None:
            raise NumericsError(f"{DRAWN} not finite", f"{self.name}: {key}")


def new_figure(width_inches: float, height_inches: float, title: str) -> "Figure":
    """Return an empty figure with its title; long titles are wrapped at their separators."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")
    wrapped = _wrapped(escape_control(title), int(width_inches * 11))
    figure.suptitle(wrapped, fontsize=10)
    return figure


def set_gaps(figure: "Figure", between_columns: float, between_rows: float) -> None:
    """Set the space between the axes, as a fraction of their mean size."""
    engine: Any = figure.get_layout_engine()
    engine.set(wspace=between_columns, hspace=between_rows)


def show(axes: "Axes", picture: Tensor, title: str = "", **options: Any) -> None:
    """Draw a picture [C,H,W] or [H,W] in 0..1, first row on top, without interpolation or axes."""
    if picture.dim() == 3:
        picture = picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)
    if picture.dim() == 2:
        options = {"cmap": "gray", "vmin": 0, "vmax": 1} | options
    axes.imshow(picture.detach().cpu().numpy(), interpolation="nearest", **options)
    axes.set_axis_off()
    if title:  # y: without it the layout looks for ticks, and makes them, of which there are none
        axes.set_title(title, fontsize=8, pad=2, y=1.0)


def show_labeled(
    axes: "Axes",
    pictures: Tensor,
    labels: list[str],
    columns: int,
    colors: list[str] | None = None,
) -> None:
    """Draw pictures [N,C,h,w] as one sheet, a label above each; one axes is faster than N."""
    height, width = pictures.shape[-2:]
    gap, row_gap = max(1, round(width / 12)), max(1, round(height / 5))
    show(axes, tile(pictures, columns, gap, row_gap_pixels=row_gap))

    for n, label in enumerate(labels):
        row, column = divmod(n, columns)
        axes.text(
            column * (width + gap) + width / 2 - 0.5,
            row * (height + row_gap) - 0.5 - height / 40,
            label,
            ha="center",
            va="bottom",
            fontsize=8,
            color=BLACK if colors is None else colors[n],
        )


def frame(axes: "Axes") -> None:
    """Draw a thin line around a picture, whose white would otherwise run into the page."""
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def outline(axes: "Axes", top: int, left: int, side: int, color: str, width_points: float) -> None:
    """Draw a square around `side` pixels of a picture; it may extend beyond the picture."""
    from matplotlib.patches import Rectangle

    corner = (left - 0.5, top - 0.5)  # imshow puts the center of the first pixel at 0
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=color, lw=width_points))


def number_in_corner(axes: "Axes", top: float, left: float, number: int, color: str) -> None:
    """Write a number on a patch of its color, its top left corner at this pixel."""
    axes.text(
        left - 0.5,
        top - 0.5,
        str(number),
        ha="left",
        va="top",
        fontsize=6,
        color="white",
        bbox={"facecolor": color, "edgecolor": "none", "boxstyle": "square,pad=0.15"},
        clip_on=False,
    )


def save(picture: Picture, folder: Path, formats: Iterable[str] = FORMATS) -> list[Path]:
    """Write the picture, and its numbers, in each format; return the paths.

    No side is longer than LARGEST_SIDE_PIXELS. The same picture gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending in formats:
        path = folder / f"{picture.name}.{ending}"
        atomic.write_bytes(path, render(picture, ending))
        paths.append(path)
    return paths


def render(picture: Picture, ending: str) -> bytes:
    """Return the picture as the bytes of a png or svg, its numbers as those of a json or csv.

    File and page share one drawing.
    """
    if ending == "json":
        return as_json(picture.name, picture.title, picture.caption, picture.facts)
    if ending == "csv":
        return as_csv(picture.facts)
    if ending not in picture._rendered:
        picture._rendered[ending] = _drawn(picture, ending)
    return picture._rendered[ending]


def _drawn(picture: Picture, ending: str) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(picture.figure)
    stream = io.BytesIO()

    # no date, no version of matplotlib, no random ids: the same picture gives the same bytes
    metadata = {"Date": None} if ending == "svg" else {"Software": None}
    fixed = matplotlib.rc_context({"svg.hashsalt": "cnnlab", "svg.fonttype": "path"})

    with fixed, _without_font_warnings():
        _settle_layout(picture.figure)
        picture.figure.savefig(
            stream, format=ending, dpi=_dots_per_inch(picture.figure), metadata=metadata
        )
    return stream.getvalue()


def to_pixels(picture: Picture) -> Tensor:
    """Return the picture as uint8 [3,H,W], for TensorBoard's image tab."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(picture.figure)
    picture.figure.set_dpi(_dots_per_inch(picture.figure))
    with _without_font_warnings():
        _settle_layout(picture.figure)
        canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[:, :, :3]
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


@contextlib.contextmanager
def _without_font_warnings() -> Iterator[None]:
    """Allow class names in any script: a letter that the font lacks is drawn as an empty box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        yield


def _settle_layout(figure: "Figure") -> None:
    """Solve the layout once instead of once per format."""
    _show_text_as_written(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _show_text_as_written(figure: "Figure") -> None:
    """Turn math text off: a class or a folder may be called '$x$'.

    It stays on for the powers of ten along a logarithmic axis.
    """
    from matplotlib.ticker import LogFormatter

    powers = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if isinstance(axis.get_major_formatter(), LogFormatter)
        for label in axis.get_ticklabels(which="both")
    }

    for text in _texts(figure):
        if id(text) not in powers:
            text.set_parse_math(False)


def _texts(artist: "Artist") -> "Iterator[Text]":
    """Yield all texts of a figure but those of axes without ticks, which would make some first."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    if isinstance(artist, Text):
        yield artist
    if not (isinstance(artist, Axis) and not artist.axes.axison):
        for child in artist.get_children():
            yield from _texts(child)


def _dots_per_inch(figure: "Figure") -> float:
    longest = max(figure.get_size_inches())
    return float(min(DOTS_PER_INCH, LARGEST_SIDE_PIXELS / longest))


def _wrapped(title: str, width: int) -> str:
    """Wrap a title at its separators; a line has at most `width` letters where that is possible."""
    lines: list[str] = []
    for word in title.split(" · "):
        if lines and len(lines[-1]) + len(word) + 3 <= width:
            lines[-1] += f" · {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
