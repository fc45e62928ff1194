"""The head of every benchmark: its options, the order of its rounds, its ratios and its answer.

Imports torch only when asked for threads or for the machine: memory.py starts the processes that it
measures, and Linux counts the memory of the process that starts another to the peak of the other.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def options(
    description: str | None,
    *,
    rounds: int | None = None,
    threads: bool = False,
    device: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser with --rounds, if given a default, and --threads and --device, if wanted."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    if threads:
        parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    if device:
        told = "cpu (the default), cuda or cuda:N; not yet run on a GPU"
        parser.add_argument("--device", default="cpu", help=told)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of the command line, with torch limited to the --threads given.

    `device` becomes a torch.device; one that is not there ends the script with one line.
    """
    import torch

    from cnnlab.errors import CnnlabError
    from cnnlab.runtime import select_device

    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if "device" in given:
        try:
            given.device = select_device(given.device)
        except CnnlabError as error:
            sys.exit(f"{parser.prog}: --device {given.device}: {error.what}")
    return given


def turns(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """Yield the order of each round, forwards and backwards, so that a drift affects all alike."""
    order = list(names)
    for index in range(rounds):
        yield order if index % 2 == 0 else order[::-1]


def spread(ratios: Sequence[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest."""
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def ratios(ones: Iterable[float], others: Iterable[float]) -> list[float]:
    """Return one / other of each round: neighbors in time see the same state of the machine."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def quartiles(values: Sequence[float]) -> dict[str, Any]:
    """Return the median and the quartiles, for many short rounds."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "quartiles": [low, high]}


def in_words(found: dict[str, float], digits: int = 2) -> str:
    """Return a spread as text: '1.20 (0.88 to 1.41)'."""
    median, low, high = (f"{found[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def answer(name: str, found: object) -> None:
    """Print the figures of a benchmark as the one line of JSON that run.py reads."""
    print(json.dumps({name: found}))


def train_command(folder: Path, *words: str) -> list[str]:
    """Return the command that trains into `folder`, as words of a subprocess."""
    command = [sys.executable, "-P", "-m", "cnnlab", "train", *words]
    return [*command, f"hydra.run.dir={folder}", "logging.progress=false"]


def scratch_run(purpose: str) -> Path:
    """Return a run folder, not made yet, in a new temporary folder."""
    return Path(tempfile.mkdtemp(prefix=f"cnnlab-{purpose}-")) / "run"


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the metrics that a run has written so far, one dict per whole line of its file."""
    path = run / "metrics.jsonl"
    whole, _, _ = path.read_text().rpartition("\n") if path.is_file() else ("", "", "")
    return [json.loads(line) for line in whole.splitlines()]


def machine() -> dict[str, Any]:
    """Return the processor, its cores, the versions of torch and Python, and the time."""
    import torch

    from cnnlab.runtime import processor_name

    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "time": datetime.datetime.now().isoformat(timespec="minutes"),
    }


def hardware() -> str:
    """Return the processor as part of a file name: '2-core-amd-epyc'."""
    facts = machine()
    name = re.sub(r"[^a-z0-9]+", "-", facts["processor"].lower()).strip("-")
    return f"{facts['cores']}-core-{name}"


def read_json(path: Path) -> dict[str, Any]:
    """Return the results that are in a file already; none where there is no file."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the results; an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)
