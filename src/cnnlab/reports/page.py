"""One self-contained HTML page: images embedded, no script, no request, all text escaped."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.files import atomic
from cnnlab.reports.style import FRAME, STYLE
from cnnlab.safe_output import escape_control


@dataclass(frozen=True)
class Text:
    """A paragraph. preformatted: keep its line breaks and spaces, as for a config."""

    text: str
    preformatted: bool = False


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column names the rows and is left-aligned."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A PNG, the caption below it, and its alt text.

    is_plot: of lines on white, whose lightness is turned around on a dark page.
    """

    png: bytes
    caption: str
    alternative: str
    is_plot: bool = False


@dataclass(frozen=True)
class Gallery:
    """Small PNGs side by side, each with the lines below it; enlarged without interpolation.

    is_dense: many very small ones, each in a frame.
    """

    pictures: Sequence[tuple[bytes, Sequence[str]]]
    is_dense: bool = False


@dataclass(frozen=True)
class Scale:
    """What the grays of the pictures beside it mean: black, middle gray, white."""

    black: str
    gray: str
    white: str


Part = Text | Table | Figure | Gallery | Scale


@dataclass(frozen=True)
class Section:
    """A heading and its content.

    folded: collapsed until it is clicked. half: one of two columns is enough for it.
    """

    heading: str
    parts: list[Part] = field(default_factory=list)
    folded: bool = False
    half: bool = False


def write(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page atomically; return its path. Raises ResourceError if it cannot be written."""
    atomic.write_bytes(path, page(title, sections).encode("utf-8", "backslashreplace"))
    return path


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the page's HTML."""
    body = "\n".join(_section(section) for section in sections if section.parts)
    columns = f'<div class="page">\n{body}\n</div>'
    return FRAME.format(title=_escaped(title), style=STYLE, body=columns)


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    heading = f"<h2>{_escaped(section.heading)}</h2>"
    size = ' class="half"' if section.half else ""
    if section.folded:
        return (
            f"<details{size}><summary>{heading}</summary>\n"
            f'<div class="parts">\n{parts}\n</div>\n</details>'
        )
    return f'<section{size}>\n{heading}\n<div class="parts">\n{parts}\n</div>\n</section>'


def _part(part: Part) -> str:
    if isinstance(part, Text):
        if part.preformatted:
            lines = part.text.split("\n")
            return "<pre>" + "\n".join(_escaped(line) for line in lines) + "</pre>"
        return f"<p>{_escaped(part.text)}</p>"

    if isinstance(part, Table):
        return _table(part)

    if isinstance(part, Gallery):
        items = "".join(_thumbnail(png, lines) for png, lines in part.pictures)
        kind = "gallery dense" if part.is_dense else "gallery"
        return f'<div class="{kind}">{items}</div>'

    if isinstance(part, Scale):
        marks = "".join(f"<span>{_escaped(m)}</span>" for m in (part.black, part.gray, part.white))
        return f'<div class="scale"><div></div><p>{marks}</p></div>'

    return _figure(part)


def _table(table: Table) -> str:
    rows = [[str(cell) for cell in row] for row in table.rows]
    columns = list(zip(*rows, strict=False))
    kinds = ["words", *("words" if _is_words(column) else "" for column in columns[1:])]
    kinds += [""] * (len(table.columns) - len(kinds))  # a table without rows

    named = zip(table.columns, kinds, strict=False)
    head = "".join(_cell("th", name, 'scope="col"', kind) for name, kind in named)
    head = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    lines = "\n".join(_row(row, kinds) for row in rows)
    widths = [max(map(len, column)) + 2 for column in columns]
    narrow = " narrow" if sum(widths) <= _COLUMN_LETTERS else ""
    return f'<div class="wide{narrow}"><table>{head}<tbody>\n{lines}\n</tbody></table></div>'


def _row(row: Sequence[str], kinds: Sequence[str]) -> str:
    first = _cell("th", row[0], 'scope="row"', kinds[0])
    others = zip(row[1:], kinds[1:], strict=False)
    return f"<tr>{first}{''.join(_cell('td', cell, '', kind) for cell, kind in others)}</tr>"


def _cell(tag: str, text: str, attribute: str, kind: str) -> str:
    """Return a cell: words are on the left, and go over several lines where there are many."""
    is_long = kind and len(text) > _LINE_LETTERS
    marks = " ".join(filter(None, (kind, "long" if is_long else "")))
    inside = " ".join(filter(None, (tag, attribute, f'class="{marks}"' if marks else "")))
    return f"<{inside}>{_escaped(text)}</{tag}>"


def _is_words(column: Sequence[str]) -> bool:
    """Return whether most cells of a column are no numbers; dashes and empty cells say nothing."""
    filled = [cell for cell in column if cell.strip("- ")]
    return 2 * sum(map(_is_number, filled)) < len(filled)


def _is_number(cell: str) -> bool:
    """Return whether a cell is a figure with its unit or interval: `2.9 % (2 to 4 %), 5 seeds`."""
    starts = cell.lstrip("+-.")[:1].isdigit()
    return starts and 10 * sum(letter.isalpha() for letter in cell) < 4 * len(cell)


def _thumbnail(png: bytes, lines: Sequence[str]) -> str:
    caption = "<br>".join(map(_escaped, lines))
    return f"<figure>{_image(png, '; '.join(lines))}<figcaption>{caption}</figcaption></figure>"


def _figure(figure: Figure) -> str:
    image, kind = _image(figure.png, figure.alternative), "plot" if figure.is_plot else "drawing"
    width = _width_pixels(figure.png)
    if width > _PHONE_PIXELS:  # on a small screen it scrolls: shrunk text is unreadable
        image = f'<div class="wide">{image}</div>'
    if width <= _COLUMN_PIXELS:
        kind += " narrow"
    caption = f"<figcaption>{_escaped(figure.caption)}</figcaption>" if figure.caption else ""
    return f'<figure class="{kind}">{image}{caption}</figure>'


def _image(png: bytes, alternative: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{_escaped(alternative)}">'


def _width_pixels(png: bytes) -> int:
    """Return the width in the header of a PNG."""
    return int.from_bytes(png[16:20], "big")


def _escaped(text: str) -> str:
    return html.escape(escape_control(str(text)))


_PHONE_PIXELS, _COLUMN_PIXELS = 520, 640
"""Pixels of pictures that are shrunk to fit a phone, and of those that fit one of two columns."""

_COLUMN_LETTERS, _LINE_LETTERS = 60, 24
"""Letters of a table in one of two columns, and of a cell on one line."""
