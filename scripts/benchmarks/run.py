"""Run the benchmarks, write docs/results/<date>-<hardware>.json and the tables of performance.md.

    python scripts/benchmarks/run.py                  # all; an hour, mostly the peer of "target"
    python scripts/benchmarks/run.py lenet startup    # some; the other tables stay as they are

All but the memory and the comparisons in processor time need a machine that runs nothing else.
Lightning, Keras and timm come with `pip install -e .[bench]`.
"""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import page
from head import DOCS, hardware, machine, options, read_json, write_json

HERE = Path(__file__).parent

SCRIPTS = (
    "busy",
    "layers",
    "lenet",
    "overhead",
    "alexnet",
    "growth",
    "compiled",
    "startup",
    "memory",
    "target",
)
WITHOUT_THREADS = ("startup", "memory")


def main() -> None:
    parser = options(__doc__, threads=True)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(SCRIPTS)}; default: all")
    parser.add_argument("--render-only", action="store_true", help="write the tables, run nothing")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in SCRIPTS]:
        parser.error(f"unknown benchmark {unknown[0]!r}")

    path = DOCS / "results" / f"{datetime.date.today()}-{hardware()}.json"
    document = read_json(path)
    if given.render_only and not document:
        parser.error(f"no results of today to render: {path} does not exist")
    document = document or latest_results()

    for part in [] if given.render_only else given.parts or SCRIPTS:
        threads = [] if part in WITHOUT_THREADS else ["--threads", str(given.threads)]
        document |= measured([f"{part}.py", *threads])
        document["machine"] = machine()
        document.setdefault("measured", {})[part] = document["machine"]["time"]
        write_json(path, document)  # after each, so that an interruption loses one part at most

    page.render(document, path.name, DOCS / "performance.md")


def latest_results() -> dict[str, Any]:
    """Return the newest results of this hardware, so that parts not run today keep their tables."""
    files = sorted((DOCS / "results").glob(f"[0-9]*-[0-9][0-9]-{hardware()}.json"))
    return read_json(files[-1]) if files else {}


def measured(words: list[str]) -> dict[str, Any]:
    """Run one script in a process of its own and return its last line, which is JSON."""
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    document: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return document


if __name__ == "__main__":
    main()
