"""`cnnlab list models|datasets|experiments|claims|runs`: what can be chosen, and earlier runs."""

import dataclasses
import textwrap
from collections.abc import Callable
from typing import Any

from cnnlab.config import DATASETS, Launch, ListConfig, choices, own_parts, parse_dataset
from cnnlab.config import claims as config_claims
from cnnlab.config.ema import EMA
from cnnlab.console import Console
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.run_folder import list_runs
from cnnlab.safe_output import write_out

Rows = list[dict[str, Any]]

RUN_COLUMNS = ("run", "status", "validation", "test")
NARROWEST = 30
"""Columns of text beside the names, however narrow the terminal is."""

HEADER_WORDS = ("source", "command", "published", "measured")
"""Facts in the header of an experiment, one per line."""


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
        cells = [_run_cells(row) for row in rows]
        console.table(RUN_COLUMNS, cells, num_names=2, shorten=False)  # paths are to be copied
    else:
        for line in _lines(rows, console.width):
            console.line(line)
    return 0


def models() -> Rows:
    """Return each model with the first line of its config."""
    return _group("model")


def datasets() -> Rows:
    """Return each data set that can be trained on, what this machine has of it, how to use it."""
    from cnnlab.data.inventory import inspect  # here: `list models` needs no torch

    def facts(name: str) -> dict[str, Any]:
        found = inspect(parse_dataset(own_parts.alone("dataset", name)))
        return {**found, "use": words_to_use(name, is_here=found["present"])}

    return [{**row, **facts(row["name"])} for row in _group("dataset") if row["name"] in DATASETS]


def words_to_use(name: str, *, is_here: bool) -> str:
    """Return the words that choose a data set, with those that say where its files are."""
    keys = {field.name for field in dataclasses.fields(DATASETS[name].config_class)}
    words = f"dataset={name}"
    if is_here or "root" not in keys:
        return words
    fetched = ", and dataset.download=true to fetch them into it" if "download" in keys else ""
    return f"{words} dataset.root=FOLDER{fetched}"


def experiments() -> Rows:
    """Return each experiment with the facts of its header: source, command, published, measured."""
    rows = []
    for name in choices.choices("experiment"):
        lines = choices.header(choices.configs_folder() / "experiment" / f"{name}.yaml")
        facts = {key: value for key, sep, value in (line.partition(": ") for line in lines) if sep}
        # the first lines that are none of the facts say what it is
        about = choices.whole_sentence(
            line for line in lines if line.partition(": ")[0] not in HEADER_WORDS
        )
        rows.append({"name": name, "about": about, **{key: facts.get(key) for key in HEADER_WORDS}})
    return rows


def claims() -> Rows:
    """Return each claim that `cnnlab reproduce` measures: its sentence, source and figures."""
    known = {name: config_claims.read(name) for name in config_claims.names()}
    return [
        {
            "name": name,
            "about": claim.sentence,
            "source": claim.source,
            "command": f"cnnlab reproduce claims={name}",
            "published": None if claim.published == "-" else claim.published,
        }
        for name, claim in known.items()
    ]


def runs() -> Rows:
    """Return the runs below outputs/, oldest first.

    which_weights: of those that keep an average of the weights, which ones the errors are of.
    """
    return [
        {
            "path": facts["path"],
            "status": facts.get("status"),
            "started": facts.get("started"),
            "model": facts.get("model"),
            "dataset": facts.get("dataset"),
            "best_validation_error": facts.get("best_validation_error"),
            "test_error": facts.get("test_error"),
            **{key: facts[key] for key in ("which_weights",) if key in facts},
        }
        for facts in list_runs()
    ]


TABLES: dict[str, Callable[[], Rows]] = {
    "models": models,
    "datasets": datasets,
    "experiments": experiments,
    "claims": claims,
    "runs": runs,
}


def _group(group: str) -> Rows:
    names = choices.choices(group)
    return [{"name": name, "about": own_parts.about(group, name)} for name in names]


def _lines(rows: Rows, width: int | None) -> list[str]:
    """Return the items as text, their names aligned; each further fact is on a line of its own.

    width: columns of a terminal, at which lines are wrapped under their beginning; None: nowhere.
    """
    aligned = max(len(row["name"]) for row in rows)
    return [
        line
        for row in rows
        for indent, text in _item(row, aligned)
        for line in _wrapped(text, indent, width)
    ]


def _item(row: dict[str, Any], aligned: int) -> list[tuple[int, str]]:
    """Return the lines of an item, each with the column below which it goes on."""
    below = " " * (aligned + 4)
    lines = [(aligned + 2, f"{row['name']:<{aligned}}  {row['about']}")]
    for word in ("command", "published", "measured"):
        if row.get(word):
            lines.append((aligned + 6, f"{below}{word}: {row[word]}"))
    if "present" in row:
        lines.append((aligned + 6, f"{below}{_images_of(row)}"))
        lines.append((aligned + 6, f"{below}use: {row['use']}"))
    return lines


def _wrapped(text: str, indent: int, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(
        text,
        max(width, indent + NARROWEST),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _images_of(row: dict[str, Any]) -> str:
    """Return counts, classes and digests of a data set, or the first line of what is missing."""
    if not row["present"]:
        return f"not here: {row['missing'].splitlines()[0]}"

    counts = " + ".join(f"{row[f'num_{split}']:,} {split}" for split in row["digests"])
    names, digests = row["class_names"], row["digests"].items()
    classes = f"{len(names)} classes: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
    marks = ", ".join(f"{split} {digest[:12]}" for split, digest in digests)
    return f"here: {counts}; {classes}; sha256 {marks}"


def _run_cells(row: dict[str, Any]) -> list[str]:
    errors = (row["best_validation_error"], row["test_error"])
    cells = [_percent(error, row.get("which_weights")) for error in errors]
    return [row["path"], str(row["status"] or "?"), *cells]


def _percent(error: Any, which_weights: Any) -> str:
    """Return an error in percent, and `ema` behind that of averaged weights."""
    if not isinstance(error, int | float):
        return "-"
    return f"{percent(error)} {EMA}" if which_weights == EMA else percent(error)
