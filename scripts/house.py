"""Write the list of source files in docs/architecture.md: the first line of each docstring.

python scripts/house.py            # rewrites the list
python scripts/house.py --check    # exits with 1 when it is out of date
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- files: begin -->", "<!-- files: end -->"


def sentence(path: Path) -> str:
    """Return the first line of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0]


def listing() -> str:
    """Return the tree of src/cnnlab as Markdown: one heading per folder, one line per file."""
    source = ROOT / "src" / "cnnlab"
    folders = sorted({path.parent for path in source.rglob("*.py")})
    lines = []
    for folder in folders:
        name = folder.relative_to(ROOT).as_posix()
        lines += ["", f"### `{name}/`", "", "| file | what it is |", "|---|---|"]
        lines += [f"| `{path.name}` | {sentence(path)} |" for path in sorted(folder.glob("*.py"))]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite or check the page; return the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    tail = rest.partition(END)[2]

    wanted = f"{head}{BEGIN}\n{listing()}\n{END}{tail}"

    if "--check" in sys.argv[1:]:
        return 0 if page == wanted else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
