"""The page of the claims: one self-contained HTML file, each claim with a line of its interval.

No script and no request; all text is escaped; light or dark as the reader's system is.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.files import atomic
from cnnlab.reports.style import FRAME
from cnnlab.safe_output import escape_control

TONES = ("holds", "fails", "undecided", "unmeasured")
"""Kinds of verdicts, which have a color beside their words."""


@dataclass(frozen=True)
class Line:
    """An interval as it is drawn: positive where the claim holds, in units of its farther end.

    All of them -1..1, with low <= mean <= high; 0 is no effect, or the level.
    """

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class ArmRow:
    """What is shown of an arm: its name, network, images, mean and factor; command and runs."""

    cells: Sequence[str]
    command: str
    runs: Sequence[str] = ()


@dataclass(frozen=True)
class Card:
    """A claim. short: lines of the overview; facts: (label, text); more: those shown on demand."""

    name: str
    sentence: str
    source: str
    verdict: str
    tone: str
    line: Line | None
    short: Sequence[str]
    facts: Sequence[tuple[str, str]]
    more: Sequence[tuple[str, str]]
    arms: Sequence[ArmRow]
    again: str


@dataclass(frozen=True)
class ClaimsPage:
    """The page. notes: paragraphs below the title."""

    title: str
    notes: Sequence[str]
    cards: Sequence[Card]
    made_by: str


def write(path: Path, page: ClaimsPage) -> Path:
    """Write the page atomically; return its path. Raises ResourceError if it cannot be written."""
    atomic.write_bytes(path, render(page).encode("utf-8", "backslashreplace"))
    return path


def render(page: ClaimsPage) -> str:
    """Return the page's HTML."""
    notes = "\n".join(f"<p>{_escaped(note)}</p>" for note in page.notes)
    counts = [(tone, sum(card.tone == tone for card in page.cards)) for tone in TONES]
    summary = "".join(
        f'<li class="{tone}"><b>{number}</b> {WORDS[tone]}</li>'
        for tone, number in counts
        if number
    )
    index = "\n".join(_index_row(card) for card in page.cards)
    cards = "\n".join(_card(card) for card in page.cards)

    body = _BODY.format(
        notes=notes,
        summary=summary,
        index=index,
        cards=cards,
        made_by=_escaped_lines(page.made_by.splitlines()),
    )
    return FRAME.format(title=_escaped(page.title), style=_STYLE, body=body)


WORDS = {
    "holds": "hold",
    "fails": "do not hold here",
    "undecided": "undecided",
    "unmeasured": "unmeasured",
}


def _index_row(card: Card) -> str:
    """Return a line of the overview: sentence, interval, verdict."""
    short = "".join(f"<small>{_escaped(line)}</small>" for line in card.short)
    return (
        f'<li class="{card.tone}"><div><a href="#{_escaped(card.name)}">{_escaped(card.sentence)}'
        f"</a>{short}</div>"
        f'{_line(card.line)}<span class="verdict">{_escaped(card.verdict)}</span></li>'
    )


def _card(card: Card) -> str:
    facts = "".join(f"<dt>{_escaped(k)}</dt><dd>{_escaped(v)}</dd>" for k, v in card.facts)
    return (
        f'<article class="{card.tone}" id="{_escaped(card.name)}">\n'
        f"<h2>{_escaped(card.sentence)}</h2>\n"
        f'<p class="source">{_escaped(card.source)}</p>\n'
        f'<p class="answer"><span class="verdict">{_escaped(card.verdict)}</span>'
        f"{_line(card.line)}</p>\n<dl>{facts}</dl>\n{_details(card)}\n</article>"
    )


def _details(card: Card) -> str:
    """Return what is shown on demand: further facts, the arms, and the commands."""
    more = "".join(f"<dt>{_escaped(k)}</dt><dd>{_escaped(v)}</dd>" for k, v in card.more)
    head = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in ARM_COLUMNS)
    rows = "".join(_arm(arm) for arm in card.arms)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""

    commands = [card.again, *(line for arm in card.arms for line in _commands(arm))]
    return (
        f"<details><summary>arms, runs and commands</summary><dl>{more}</dl>"
        f'<div class="wide">{table}</div><pre>{_escaped_lines(commands)}</pre></details>'
    )


def _commands(arm: ArmRow) -> list[str]:
    """Return how an arm is trained with its first seed, and where its runs are."""
    return ["", f"# {arm.cells[0]}", arm.command, *(f"#   {run}/config.yaml" for run in arm.runs)]


ARM_COLUMNS = ("arm", "network", "images", "mean", "factor")


def _arm(arm: ArmRow) -> str:
    name, *others = arm.cells
    cells = "".join(f"<td>{_escaped(cell)}</td>" for cell in others)
    return f'<tr><th scope="row">{_escaped(name)}</th>{cells}</tr>'


HALF, REACH, MIDDLE = 100.0, 92.0, 12.0
"""Half of the drawing's width, how far a line may reach, and its middle height, in SVG units."""


def _line(line: Line | None) -> str:
    """Return the drawing of an interval: a bar, its mean, and a vertical line at no effect."""
    if line is None:
        return '<span class="line"></span>'
    low, mean, high = (HALF + REACH * end for end in (line.low, line.mean, line.high))
    return (
        f'<svg class="line" viewBox="0 0 {2 * HALF:.0f} {2 * MIDDLE:.0f}" aria-hidden="true">'
        f'<path class="none" d="M{HALF:.0f} 1V{2 * MIDDLE - 1:.0f}"/>'
        f'<path class="reach" d="M{low:.1f} {MIDDLE:.0f}H{high:.1f}'
        f'M{low:.1f} {MIDDLE - 4:.0f}v8M{high:.1f} {MIDDLE - 4:.0f}v8"/>'
        f'<circle cx="{mean:.1f}" cy="{MIDDLE:.0f}" r="4.5"/></svg>'
    )


def _escaped(text: str) -> str:
    return html.escape(escape_control(str(text)))


def _escaped_lines(lines: Sequence[str]) -> str:
    return "\n".join(_escaped(line) for line in lines)


_BODY = """{notes}
<ul class="summary">{summary}</ul>
<ol class="index">
{index}
</ol>
{cards}
<footer><pre>{made_by}</pre></footer>"""

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1a1a1a; --faint: #595959;
  --rule: #d5d5d5; --well: #f4f4f4; --holds: #00674b; --fails: #a83a00; --undecided: #5c5c5c;
  --unmeasured: #767676; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --text: #e6e6e6; --faint: #a6a6a6; --rule: #3a3d42; --well: #212429;
    --holds: #45c79b; --fails: #f08a4b; --undecided: #b8b8b8; --unmeasured: #8f8f8f; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .75rem 0; }
h2 { font-size: 1.1rem; line-height: 1.35; margin: 0; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: inherit; text-decoration-color: var(--faint); text-underline-offset: .2em; }
.holds { --tone: var(--holds); } .fails { --tone: var(--fails); }
.undecided { --tone: var(--undecided); } .unmeasured { --tone: var(--unmeasured); }
.verdict { color: var(--tone); font-weight: 600; }
.unmeasured .verdict { font-weight: 400; }
.source { color: var(--faint); font-size: .9rem; margin: .1rem 0 .5rem; }
ul.summary { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; }
ul.summary li { color: var(--tone); }
ol.index { list-style: none; padding: 0; margin: 1rem 0 2rem; border-top: 1px solid var(--rule); }
ol.index li { display: grid; grid-template-columns: minmax(0, 1fr) 11rem 13rem; gap: 0 1.25rem;
  align-items: center; padding: .3rem 0; border-bottom: 1px solid var(--rule); font-size: .95rem; }
ol.index small { display: block; color: var(--faint); font-size: .85rem; }
.line { display: block; width: 11rem; height: 1.32rem; }
.line path { fill: none; stroke: var(--tone); stroke-width: 2; }
.line path.none { stroke: var(--faint); stroke-width: 1; }
.line circle { fill: var(--tone); }
article { border-top: 1px solid var(--rule); padding: 1.1rem 0 1rem; scroll-margin-top: .5rem; }
.answer { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; align-items: center; }
dl { display: grid; grid-template-columns: 9.5rem minmax(0, 1fr); gap: .15rem 1rem; }
dl { margin: .5rem 0; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--faint); font-size: .95rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem 1rem .25rem 0; text-align: left; vertical-align: top; }
th { font-weight: 400; } thead th { color: var(--faint); }
th:nth-child(n+4), td:nth-child(n+4) { text-align: right; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--rule); }
pre { overflow-x: auto; background: var(--well); padding: .75rem; font-size: .82rem;
  line-height: 1.45; }
@media (max-width: 720px) {
  main { padding: .5rem .9rem 3rem; }
  ol.index li { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); padding: .5rem 0; }
  ol.index div { grid-column: 1 / -1; }
  .line { width: 100%; max-width: 11rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .4rem; }
}
@media print { details > * { display: block; } }
"""
