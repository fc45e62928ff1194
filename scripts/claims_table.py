"""Write the table of docs/reproduction.md from the document of a `cnnlab reproduce`.

    cnnlab reproduce claims=all scale=laptop
    python scripts/claims_table.py outputs/reproduction/reproduction.json [--page FILE]

The lines between the marks of the page are replaced; every row has the command that repeats it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from cnnlab.reproduction.rows import cells

PAGE = Path(__file__).parents[1] / "docs" / "reproduction.md"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=Path, help="reproduction.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="page with the two marks")
    given = parser.parse_args()
    document = json.loads(given.document.read_text(encoding="utf-8"))
    page = given.page.read_text(encoding="utf-8")
    given.page.write_text(put_between(page, lines(document)), encoding="utf-8")


def lines(document: dict[str, Any]) -> list[str]:
    """Return the table as Markdown, with date, machine and scale before it."""
    git = (document.get("git") or {}).get("revision") or "unknown"
    head = (
        f"Measured {document['time'][:10]} on {document['device']}, "
        f"torch {document['versions']['torch']}, revision {git[:10]}; {document['note']}. "
        f"Each row is repeated by `cnnlab reproduce scale={document['scale']} claims=NAME`."
    )
    table = [_row(COLUMNS), "|---" * len(COLUMNS) + "|"]
    return [head, "", *table, *(_row(row_cells(row)) for row in document["claims"])]


def row_cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a claim: sentence with its name, source, figures and verdict."""
    name, *figures = cells(row)
    networks = ", ".join(dict.fromkeys(arm["network"] for arm in row["arms"]))
    sets = ", ".join(dict.fromkeys(arm["set"] for arm in row["arms"] if "set" in arm))
    with_what = "; ".join(filter(None, [networks, sets]))
    published, log, measured, *rest = figures
    measured += f" ({with_what})" if with_what else ""
    return [f"{row['sentence']} (`{name}`)", row["source"], published, log, measured, *rest]


def put_between(page: str, rows: list[str]) -> str:
    """Return the page with `rows` between its two marks."""
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return before + "\n".join([BEGIN, *rows, END]) + after


def _row(cells_of_row: Any) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells_of_row)} |"


if __name__ == "__main__":
    main()
