"""What results show in a notebook: a table and a curve as HTML, all text escaped.

Colors are those of the page around it, so that light and dark notebooks read well.
"""

import html
from collections.abc import Callable, Mapping, Sequence

from cnnlab.safe_output import escape_control

Show = Callable[[float], str]

WIDTH, HEIGHT, MARGIN = 360, 120, 8
"""Of a curve, in units that the page scales."""


def table(
    title: str, rows: Sequence[Sequence[object]], columns: Sequence[str] = (), below: str = ""
) -> str:
    """Return a table with a title. below: HTML that follows it, escaped by who made it."""
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{escaped(c)}</td>' for c in row)}</tr>" for row in rows)
    body = (f"<thead><tr>{head}</tr></thead>" if columns else "") + f"<tbody>{lines}</tbody>"
    return f"<div><strong>{escaped(title)}</strong><table>{body}</table>{below}</div>"


def curve(label: str, points: Sequence[tuple[float, float]], show: Show) -> str:
    """Return a line through (epoch, value), in order, as SVG with its first and last value.

    show: a value as people read it. Nothing is drawn of fewer than two points.
    """
    if len(points) < 2:
        return ""

    (first, _), (last, _) = points[0], points[-1]
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    width, height = (last - first) or 1.0, (highest - lowest) or 1.0
    places = (
        (
            MARGIN + (x - first) / width * (WIDTH - 2 * MARGIN),
            HEIGHT - MARGIN - (y - lowest) / height * (HEIGHT - 2 * MARGIN),
        )
        for x, y in points
    )

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    said = f"{label}: {show(points[0][1])} to {show(points[-1][1])}, epochs {first:g} to {last:g}"
    return (
        f'<figure style="margin: .5em 0"><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'role="img" aria-label="{escaped(said)}"><polyline points="{line}" fill="none" '
        f'stroke="currentColor" stroke-width="1.5"/></svg>'
        f"<figcaption>{escaped(said)}</figcaption></figure>"
    )


def curve_of(
    rows: Sequence[Mapping[str, float]], label: str, key: str, show: Show = "{:.4g}".format
) -> str:
    """Return the curve of one figure over the epochs; rows without it are left out."""
    points = [(row["epoch"], row[key]) for row in rows if key in row and "epoch" in row]
    return curve(label, points, show)


def escaped(text: object) -> str:
    """Return a text for HTML; control characters become visible."""
    return html.escape(escape_control(str(text)))
