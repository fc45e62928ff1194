"""`cnnlab list models|datasets|experiments|claims|runs`: what can be chosen, and earlier runs."""

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
        console.table(RUN_COLUMNS, [_run_cells(row) for row in rows], num_names=2)
    else:
        for line in _lines(rows):
            console.line(line)
    return 0


def models() -> Rows:
    """Return each model with the first line of its config."""
    return _group("model")


def datasets() -> Rows:
    """Return each data set that can be trained on, and what this machine has of it."""
    from cnnlab.data.inventory import inspect  # here: `list models` needs no torch

    def facts(name: str) -> dict[str, Any]:
        return inspect(parse_dataset(own_parts.alone("dataset", name)))

    return [{**row, **facts(row["name"])} for row in _group("dataset") if row["name"] in DATASETS]


def experiments() -> Rows:
    """Return each experiment with the facts of its header: source, command, published, measured."""
    rows = []
    for name in choices.choices("experiment"):
        lines = choices.header(choices.configs_folder() / "experiment" / f"{name}.yaml")
        facts = {key: value for key, sep, value in (line.partition(": ") for line in lines) if sep}
        # the first line that is none of the facts says what it is
        about = next(line for line in lines if line.partition(": ")[0] not in HEADER_WORDS)
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


def _lines(rows: Rows) -> list[str]:
    """Return the items as text, their names aligned; each further fact is on a line of its own."""
    width = max(len(row["name"]) for row in rows)
    return [line for row in rows for line in _item(row, width)]


def _item(row: dict[str, Any], width: int) -> list[str]:
    lines = [f"{row['name']:<{width}}  {row['about']}"]
    for word in ("command", "published", "measured"):
        if row.get(word):
            lines.append(f"{'':<{width}}    {word}: {row[word]}")
    if "present" in row:
        lines.append(f"{'':<{width}}    {_images_of(row)}")
    return lines


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
