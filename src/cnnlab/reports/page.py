"""One self-contained HTML page: images embedded, no script, no request, all text escaped."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnlab.files import atomic
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
    """A PNG, the caption below it, and its alt text."""

    png: bytes
    caption: str
    alternative: str


@dataclass(frozen=True)
class Gallery:
    """Small PNGs side by side, (image, caption) each; enlarged without interpolation."""

    pictures: Sequence[tuple[bytes, str]]


Part = Text | Table | Figure | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and its content. folded: collapsed until it is clicked."""

    heading: str
    parts: list[Part] = field(default_factory=list)
    folded: bool = False


def write(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page atomically; return its path. Raises ResourceError if it cannot be written."""
    atomic.write_bytes(path, page(title, sections).encode("utf-8", "backslashreplace"))
    return path


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the page's HTML."""
    body = "\n".join(_section(section) for section in sections if section.parts)
    return _PAGE.format(title=_escaped(title), style=_STYLE, body=body)


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    heading = f"<h2>{_escaped(section.heading)}</h2>"
    if section.folded:
        return f"<details><summary>{heading}</summary>\n{parts}\n</details>"
    return f"<section>\n{heading}\n{parts}\n</section>"


def _part(part: Part) -> str:
    if isinstance(part, Text):
        if part.preformatted:
            lines = part.text.split("\n")
            return "<pre>" + "\n".join(_escaped(line) for line in lines) + "</pre>"
        return f"<p>{_escaped(part.text)}</p>"

    if isinstance(part, Table):
        return _table(part)

    if isinstance(part, Gallery):
        items = "".join(_figure(png, caption, caption) for png, caption in part.pictures)
        return f'<div class="gallery">{items}</div>'

    return _figure(part.png, part.caption, part.alternative)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_escaped(cell)}</th>' for cell in table.columns)
    rows = "\n".join(_row(row) for row in table.rows)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n'
        "</tbody></table></div>"
    )


def _row(row: Sequence[str]) -> str:
    first = f'<th scope="row">{_escaped(row[0])}</th>'
    return f"<tr>{first}{''.join(f'<td>{_escaped(cell)}</td>' for cell in row[1:])}</tr>"


def _figure(png: bytes, caption: str, alternative: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{_escaped(alternative)}">'
    if (
        _width_pixels(png) > _NARROW_PIXELS
    ):  # on a small screen it scrolls: shrunk text is unreadable
        image = f'<div class="wide">{image}</div>'
    return f"<figure>{image}<figcaption>{_escaped(caption)}</figcaption></figure>"


def _width_pixels(png: bytes) -> int:
    """Return the width in the header of a PNG."""
    return int.from_bytes(png[16:20], "big")


def _escaped(text: str) -> str:
    return html.escape(escape_control(str(text)))


_NARROW_PIXELS = 640

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0; display: inline-block; }
section, details { border-top: 1px solid #d0d0d0; padding: 1rem 0; }
summary { cursor: pointer; }
summary h2 { display: inline; }
p { max-width: 45rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: normal; }
thead th, thead th:first-child { font-weight: 600; border-bottom: 2px solid #1a1a1a; }
tbody tr { border-bottom: 1px solid #e4e4e4; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; color: #444; max-width: 45rem; overflow-wrap: anywhere; }
.gallery { display: grid; gap: .75rem; margin-top: .75rem; }
.gallery { grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.gallery figure { margin: 0; }
.gallery img { width: 100%; max-width: 9rem; image-rendering: pixelated; background: #eee; }
pre { overflow-x: auto; background: #f5f5f5; padding: .75rem; font-size: .85rem; line-height: 1.4; }
@media (max-width: 500px) {
  main { padding: .5rem .6rem 3rem; }
  table { font-size: .8rem; }
  th, td { padding-right: .45rem; }
  .wide img { max-width: none; width: 46rem; }
}
@media print { details { display: block; } }
"""
