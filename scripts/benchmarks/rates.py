"""Contenders in turns: images per second of each, round by round, as a table and as JSON."""

import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cnnlab.run_folder.provenance import describe
from cnnlab.runtime import describe_device

Pass = Callable[[], int]
"""Go once over the images of a contender; return how many came out."""

Rates = dict[str, list[tuple[float, float]]]
"""Images per second of the clock and per second of the processor, a pair a round."""


def race(passes: dict[str, Pass], rounds: int) -> Rates:
    """Run the contenders in turns, each once before anything is timed."""
    rates: Rates = {name: [] for name in passes}
    for run in passes.values():
        run()
    for number in range(rounds):
        order = list(passes) if number % 2 == 0 else list(passes)[::-1]
        for name in order:
            clock, processor = time.perf_counter(), processor_seconds()
            num_images = passes[name]()
            clock, processor = time.perf_counter() - clock, processor_seconds() - processor
            rates[name].append((num_images / clock, num_images / processor))
    return rates


def processor_seconds() -> float:
    """Return what this process and its workers have used: other jobs' load does not count."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def table(title: str, rates: Rates) -> list[str]:
    """Return Markdown lines; ratios are medians within a round, against the first contender."""
    first = next(iter(rates))
    lines = [
        f"| {title} | images/s | images per processor second | times {first}: clock | processor |",
        "|---|---|---|---|---|",
    ]
    for name, found in rates.items():
        words = [f"{statistics.median(values):,.0f}" for values in zip(*found, strict=True)]
        for kind in (0, 1):
            pairs = zip(found, rates[first], strict=True)
            ratios = [ours[kind] / base[kind] for ours, base in pairs]
            words.append(
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        lines.append(f"| {name} | {' | '.join(words)} |")
    return lines


def record(path: Path, name: str, rates: Rates) -> None:
    """Put one contest's rates into a JSON file beside those that are there already."""
    document = json.loads(path.read_text()) if path.is_file() else {}
    document |= {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": describe_device(torch.device("cpu")),
        "num_processors": os.cpu_count(),
        "versions": describe()["versions"],
    }
    document.setdefault("rates", {})[name] = rates
    path.write_text(json.dumps(document, indent=1) + "\n")
