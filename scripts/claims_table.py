"""Write the table of docs/reproduction.md, and short ones of the README and the gallery.

    cnnlab reproduce claims=all scale=laptop
    python scripts/claims_table.py outputs/reproduction/reproduction.json [--root FOLDER]

The lines between the marks of the pages are replaced; every row has the command that repeats it.
The document itself is kept beside the page, as docs/results/DATE-claims-SCALE.json.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from cnnlab.reproduction.page import tone_of, with_what
from cnnlab.reproduction.rows import NONE, cells, note, tried
from cnnlab.reproduction.table import by_year

ROOT = Path(__file__).parents[1]
PAGE, README, GALLERY = "docs/reproduction.md", "README.md", "docs/gallery.md"
BEGIN, END = "<!-- claims: begin -->", "<!-- claims: end -->"
COLUMNS = (
    "claim",
    "source",
    "published",
    "author's log",
    "measured",
    "smallest visible",
    "verdict",
)
SHORT_COLUMNS = ("claim", "published", "measured", "verdict")
WORDS = {
    "holds": "hold",
    "fails": "do not hold here",
    "undecided": "are undecided",
    "unmeasured": "are unmeasured",
}


def main() -> None:
    """Write the three pages; name those without marks, and then end with 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=Path, help="reproduction.json")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs/")
    given = parser.parse_args()
    document = json.loads(given.document.read_text(encoding="utf-8"))

    whole, short = lines(document), short_lines(document)
    unmarked = [
        name
        for name, rows in ((PAGE, whole), (README, short), (GALLERY, short))
        if not _write(given.root / name, rows, name)
    ]
    name = f"{document['time'][:10]}-claims-{document['scale']}.json"
    kept = given.root / "docs" / "results" / name
    kept.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if unmarked:
        sys.exit(f"not written, for they lack the lines {BEGIN} and {END}: {', '.join(unmarked)}")


def _write(path: Path, rows: list[str], name: str) -> bool:
    """Write the rows between the marks of a page; return whether it has them."""
    page = path.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        return False
    below_docs = name.startswith("docs/")
    own = [row.replace("](docs/", "](") for row in rows] if below_docs else rows
    path.write_text(put_between(page, own), encoding="utf-8")
    return True


def lines(document: dict[str, Any]) -> list[str]:
    """Return the table as Markdown, with date, machine and scale before it."""
    rows = by_year(document["claims"])
    table = [_row(COLUMNS), "|---" * len(COLUMNS) + "|"]
    again = f"Each row is repeated by `cnnlab reproduce scale={document['scale']} claims=NAME`."
    return [f"{head(document)} {again}", "", *table, *(_row(row_cells(row)) for row in rows)]


def short_lines(document: dict[str, Any]) -> list[str]:
    """Return how many claims hold, and a table of those that were published with a figure."""
    rows = [row for row in document["claims"] if row["difference"] and row["published"] != NONE]
    tones = Counter(tone_of(row["verdict"]) for row in document["claims"])
    counts = ", ".join(f"{tones[tone]} {words}" for tone, words in WORDS.items() if tones[tone])
    total = len(document["claims"])

    table = [_row(SHORT_COLUMNS), "|---" * len(SHORT_COLUMNS) + "|"]
    return [
        f"{head(document)} Of {total} claims {counts}; [all of them]({PAGE}), and here those "
        "that were published with a figure and are measured by training:",
        "",
        *table,
        *(_row(_short_cells(row)) for row in by_year(rows)),
    ]


def head(document: dict[str, Any]) -> str:
    """Return when, on what and at which scale the rows were measured."""
    calls = [row["call"] for row in document["claims"]]
    days = sorted({str(call["time"])[:10] for call in calls})
    devices = sorted({str(call["device"]) for call in calls})
    torches = sorted({str((call["versions"] or {}).get("torch", "unknown")) for call in calls})
    revisions = sorted({str((call["git"] or {}).get("revision", "unknown"))[:10] for call in calls})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"Measured {when} on {' and '.join(devices)}, torch {' and '.join(torches)}, revision "
        f"{' and '.join(revisions)}; {note(document['scale'])}."
    )


def _short_cells(row: dict[str, Any]) -> list[str]:
    _, published, _, measured, _, verdict = cells(row)
    return [row["sentence"], published, f"{measured} ({with_what(row)})", verdict]


def row_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a claim: sentence with its name, source, figures and verdict."""
    name, published, log, measured, *rest = cells(row)
    measured += f" ({with_what(row)})" if row["arms"] else ""
    said = [f"{arm.get('name')}: {text}" for arm in row["arms"] if (text := tried(arm))]
    said += [row["note"]] if row.get("note") and row["arms"] else []
    measured = "; ".join([measured, *said])
    return [f"{row['sentence']} (`{name}`)", row["source"], published, log, measured, *rest]


def put_between(page: str, rows: list[str]) -> str:
    """Return the page with `rows` between its two marks."""
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return before + "\n".join([BEGIN, *rows, END]) + after


def _row(cells_of_row: Any) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells_of_row)} |"


if __name__ == "__main__":
    main()
