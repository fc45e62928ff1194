"""Run the benchmarks, write docs/results/<date>-<hardware>.json and the table of performance.md.

    python scripts/benchmarks/run.py                  # all; an hour, mostly the peer of "target"
    python scripts/benchmarks/run.py lenet startup    # some; the others' rows stay as they are

Everything but the memory and the processor-time comparisons wants a machine that does nothing else.
Lightning, Keras and timm come with `pip install -e .[bench]`.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import page
import torch

from cnnlab.runtime import processor_name

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"

SCRIPTS = (
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
TAKE_THREADS = tuple(name for name in SCRIPTS if name not in ("startup", "memory"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(SCRIPTS)}; none: all")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--render-only", action="store_true", help="write the table, run nothing")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in SCRIPTS]:
        parser.error(f"there is no part {unknown[0]!r}")
    path = DOCS / "results" / f"{datetime.date.today()}-{hardware()}.json"
    document = json.loads(path.read_text()) if path.exists() else {}
    for part in [] if given.render_only else given.parts or SCRIPTS:
        threads = ["--threads", str(given.threads)] if part in TAKE_THREADS else []
        document |= measured([f"{part}.py", *threads])
        document["machine"] = machine()
        document.setdefault("measured", {})[part] = document["machine"]["time"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
    page.render(document, path.name, DOCS / "performance.md")


def hardware() -> str:
    """Return the processor as part of a file name: '2-core-amd-epyc'."""
    name = re.sub(r"[^a-z0-9]+", "-", processor_name().lower()).strip("-")
    return f"{os.cpu_count()}-core-{name}"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "time": datetime.datetime.now().isoformat(timespec="minutes"),
    }


def measured(words: list[str]) -> dict[str, Any]:
    """Run one script in a process of its own and return its last line, which is JSON."""
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    document: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return document


if __name__ == "__main__":
    main()
