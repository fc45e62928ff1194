"""Loaders in turns: images per second of each, round by round, as a table and as JSON."""

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from head import in_words, machine, ratios, read_json, spread, turns, write_json

from cnnlab.run_folder.provenance import describe

Pass = Callable[[], int]
"""Iterate once over the images of a loader; return their number."""

Rates = dict[str, list[tuple[float, float]]]
"""Images per wall-clock second and per processor second, one pair per round."""


def race(passes: dict[str, Pass], rounds: int) -> Rates:
    """Run the loaders in turns, each once before anything is timed."""
    for run in passes.values():
        run()

    rates: Rates = {name: [] for name in passes}
    for order in turns(passes, rounds):
        for name in order:
            clock, processor = time.perf_counter(), processor_seconds()
            num_images = passes[name]()
            clock, processor = time.perf_counter() - clock, processor_seconds() - processor
            rates[name].append((num_images / clock, num_images / processor))
    return rates


def processor_seconds() -> float:
    """Return the processor time of this process and its workers; other jobs do not count."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def table(title: str, rates: Rates) -> list[str]:
    """Return Markdown lines; ratios are medians within a round, against the first loader."""
    first = next(iter(rates))
    lines = [
        f"| {title} | images/s | images per processor second | times {first}: clock | processor |",
        "|---|---|---|---|---|",
    ]
    baseline = list(zip(*rates[first], strict=True))
    for name, found in rates.items():
        kinds = list(zip(*found, strict=True))
        cells = [f"{statistics.median(values):,.0f}" for values in kinds]
        cells += [in_words(spread(ratios(*pair))) for pair in zip(kinds, baseline, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def record(path: Path, name: str, rates: Rates) -> None:
    """Add the rates of one comparison to a JSON file; the others in it stay."""
    document = read_json(path)
    document |= {"machine": machine(), "versions": describe()["versions"]}
    document.setdefault("rates", {})[name] = rates
    write_json(path, document)
