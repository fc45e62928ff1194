"""Run the benchmarks, write docs/results/<date>-<hardware>.json and the table of performance.md.

    python scripts/benchmarks/run.py                  # all, about ten minutes on a quiet machine
    python scripts/benchmarks/run.py lenet startup    # some; the others' rows stay as they are

Lightning and Keras come with `pip install -e .[bench]`.
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

import torch

from cnnlab.runtime import processor_name

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SCRIPTS: dict[str, list[str]] = {
    "lenet": ["lenet.py"],
    "alexnet": ["alexnet.py"],
    "startup": ["startup.py"],
    "memory": ["memory.py"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*SCRIPTS, []], default=list(SCRIPTS))
    parser.add_argument("--render-only", action="store_true", help="write the table, run nothing")
    given = parser.parse_args()
    path = DOCS / "results" / f"{datetime.date.today()}-{hardware()}.json"
    document = json.loads(path.read_text()) if path.exists() else {}
    for part in [] if given.render_only else given.parts:
        document |= measured(SCRIPTS[part])
        document["machine"] = machine()
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
    render(document, path.name)


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


def render(document: dict[str, Any], source: str) -> None:
    """Put the tables between the two marks of the page."""
    machine = document["machine"]
    lines = [
        f"Measured {machine['time'].replace('T', ' ')} on {machine['cores']} cores of "
        f"{machine['processor']} ({machine['capability']}), torch {machine['torch']}; "
        f"all figures: [{source}](results/{source}).",
    ]
    for kind, name in (("lenet5", "LeNet-5, Fashion-MNIST"), ("alexnet", "AlexNet, 224 pixels")):
        for part in document.get(kind, []):
            lines += ["", *loop_table(part, name)]
    lines += ["", *startup_lines(document.get("startup")), *memory_lines(document.get("memory"))]
    page = PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(before + "\n".join([BEGIN, *lines, END]) + after)


def loop_table(part: dict[str, Any], name: str) -> list[str]:
    """Return one comparison of loops as a table."""
    title = f"{part.get('model', name)}" if "model" in part else name
    lines = [
        f"**{title}, batch {part['batch_size']}, {part['num_threads']} thread(s)**, "
        f"{part['rounds']} rounds of {part['steps_per_round']} steps; matrix product "
        f"{part['matrix_limit_gflops']:.0f} GFLOP/s"
        + (f"; {part['note']}" if "note" in part else ""),
        "",
        "| loop | images/s | ms a step | its time / ours: median (spread) | of the limit |",
        "|---|---|---|---|---|",
    ]
    for loop, row in part["rows"].items():
        ratio = row["ratio_to_ours"]
        lines.append(
            f"| {loop} | {row['images_per_second']:,.0f} | {row['milliseconds_per_step']:,.2f} "
            f"| {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) "
            f"| {row['share_of_matrix_limit']:.0%} |"
        )
    return lines


def startup_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the line about start-up."""
    if part is None:
        return ["Start-up: not measured in this run."]
    ratio = part["ratio"]
    return [
        f"Start-up: command to first update {part['cnnlab_seconds']:.2f} s, torch and LeNet-5 by "
        f"hand {part['by_hand_seconds']:.2f} s; ratio {ratio['median']:.2f} "
        f"({ratio['min']:.2f} to {ratio['max']:.2f})."
    ]


def memory_lines(part: dict[str, Any] | None) -> list[str]:
    """Return the table of peak memory."""
    if part is None:
        return []
    lines = [
        "",
        "| experiment | peak memory of the process after one update, on a CPU |",
        "|---|---|",
    ]
    return lines + [f"| {name} | {text} |" for name, text in part.items()]


if __name__ == "__main__":
    main()
