"""`cnnlab list models|datasets|experiments|runs`: what can be chosen, and what was done."""

from collections.abc import Callable
from typing import Any

from cnnlab.config import DATASETS, Launch, ListConfig, choices, parse_dataset
from cnnlab.console import Console
from cnnlab.plain_json import json_text
from cnnlab.printable import write_out
from cnnlab.run_folder import list_runs

Rows = list[dict[str, Any]]


def run(config: ListConfig, launch: Launch) -> int:
    """Print one line per item, or one JSON document."""
    rows = TABLES[config.what]()
    if config.format == "json":
        write_out(json_text({config.what: rows}))
        return 0

    console = Console(progress=False)
    if not rows:
        console.line(f"no {config.what} yet")
    elif config.what == "runs":
        console.table(RUN_COLUMNS, [_run_cells(row) for row in rows], num_names=2)
    else:
        for line in _lines(rows):
            console.line(line)
    return 0


def models() -> Rows:
    """Return each model with the first line of its file."""
    return _group("model")


def datasets() -> Rows:
    """Return each set that can be trained on, and what is there of it on this machine."""
    from cnnlab.data.inventory import inspect  # here: `list models` needs no torch

    def facts(name: str) -> dict[str, Any]:
        return inspect(parse_dataset(choices.alone("dataset", name)))

    return [{**row, **facts(row["name"])} for row in _group("dataset") if row["name"] in DATASETS]


def experiments() -> Rows:
    """Return each experiment with what its header says: source, command, published, measured."""
    rows = []
    for name in choices.choices("experiment"):
        lines = choices.header(choices.configs_folder() / "experiment" / f"{name}.yaml")
        facts = {key: value for key, sep, value in (line.partition(": ") for line in lines) if sep}
        about = next(line for line in lines if line.partition(": ")[0] not in HEADER_WORDS)
        rows.append({"name": name, "about": about, **{key: facts.get(key) for key in HEADER_WORDS}})
    return rows


def runs() -> Rows:
    """Return the runs below outputs/, oldest first."""
    return [
        {
            "path": facts["path"],
            "status": facts.get("status"),
            "started": facts.get("started"),
            "model": facts.get("model"),
            "dataset": facts.get("dataset"),
            "best_validation_error": facts.get("best_validation_error"),
            "test_error": facts.get("test_error"),
        }
        for facts in list_runs()
    ]


HEADER_WORDS = ("source", "command", "published", "measured")
"""What the header of an experiment says, a line each."""

TABLES: dict[str, Callable[[], Rows]] = {
    "models": models,
    "datasets": datasets,
    "experiments": experiments,
    "runs": runs,
}


def _group(group: str) -> Rows:
    folder = choices.configs_folder() / group
    return [
        {"name": name, "about": " ".join(choices.header(folder / f"{name}.yaml")[:1])}
        for name in choices.choices(group)
    ]


def _lines(rows: Rows) -> list[str]:
    """Align the names; what else is known of an item takes a line of its own."""
    width = max(len(row["name"]) for row in rows)
    return [line for row in rows for line in _item(row, width)]


def _item(row: dict[str, Any], width: int) -> list[str]:
    lines = [f"{row['name']:<{width}}  {row['about']}"]
    for word in ("command", "published", "measured"):
        if row.get(word):
            lines.append(f"{'':<{width}}    {word}: {row[word]}")
    if "present" in row:
        lines.append(f"{'':<{width}}    {_what_is_there(row)}")
    return lines


def _what_is_there(row: dict[str, Any]) -> str:
    """Return counts, classes and digests of a set, or the first line of what is missing."""
    if not row["present"]:
        return f"not here: {row['missing'].splitlines()[0]}"
    counts = " + ".join(f"{row[f'num_{split}']:,} {split}" for split in row["digests"])
    names, digests = row["class_names"], row["digests"].items()
    classes = f"{len(names)} classes: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
    marks = ", ".join(f"{split} {digest[:12]}" for split, digest in digests)
    return f"here: {counts}; {classes}; sha256 {marks}"


RUN_COLUMNS = ("run", "status", "validation", "test")


def _run_cells(row: dict[str, Any]) -> list[str]:
    errors = (row["best_validation_error"], row["test_error"])
    return [row["path"], str(row["status"] or "?"), *map(_percent, errors)]


def _percent(error: Any) -> str:
    return f"{100 * error:.2f} %" if isinstance(error, int | float) else "-"
