"""`cnnlab compare`: put runs side by side, their settings, figures and curves."""

from pathlib import Path
from typing import Any

from cnnlab.config import CompareConfig, Launch, flat
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.curves import overlaid
from cnnlab.reports.page import Section, Table, Text
from cnnlab.run_folder import RunFolder, current_status, find_run
from cnnlab.safe_output import write_out
from cnnlab.writers import read_epochs

FIGURES = ("status", "best_validation_error", "test_error", "seed", "device", "data_digest")
SOMETIMES = ("which_weights",)
"""Figures that are shown where a run has them: of those with an average, which weights are judged.
"""
ABSENT = "-"
DIGEST_DIGITS = 12
"""Hexadecimal digits of a digest that messages show."""


def run(config: CompareConfig, launch: Launch) -> int:
    """Print figures and differing settings of the runs; return 0."""
    runs = [find_run(where) for where in config.runs]
    if len({run.path.resolve() for run in runs}) < 2:
        raise UsageError("compare needs two runs or more", hint="runs=[outputs/A,outputs/B]")

    found = compare(runs)
    if config.format == "json":
        write_out(json_text(found))
    else:
        _show(found)

    if config.output is not None:
        report.write(Path(config.output), "Runs side by side", page(runs, found, launch.command))
    return 0


def compare(runs: list[RunFolder]) -> dict[str, Any]:
    """Return {"runs", "figures", "settings"}; settings that all runs share are left out.

    Figures and settings are lists of {"name", "values"}, one value per run in their order.
    """
    facts = [current_status(run) for run in runs]
    settings = [flat(run.read_config()) for run in runs]
    names = dict.fromkeys(name for plain in settings for name in plain)  # in order, each once

    def differ(name: str) -> bool:
        return any(plain.get(name) != settings[0].get(name) for plain in settings[1:])

    shown = [*FIGURES, *(name for name in SOMETIMES if any(name in fact for fact in facts))]
    return {
        "runs": [str(run.path) for run in runs],
        "figures": [{"name": name, "values": [fact.get(name) for fact in facts]} for name in shown],
        "settings": [
            {"name": name, "values": [plain.get(name) for plain in settings]}
            for name in names
            if name != "resume" and differ(name)
        ],
    }


def page(runs: list[RunFolder], found: dict[str, Any], command: str) -> list[Section]:
    """Return the sections of the page: tables, and one curve per run in each chart."""
    differing = _table(found, "settings")
    epochs = [read_epochs(run.path / "metrics.csv") for run in runs]
    charts = overlaid(dict(zip(labels(found["runs"]), epochs, strict=True)))

    return [
        Section("Figures", [Table(*_table(found, "figures"))]),
        Section("Settings that differ", [Table(*differing)] if differing[1] else []),
        Section("Curves", [sections.figure(chart) for chart in charts]),
        Section("Made by", [Text(command, preformatted=True)]),
    ]


def labels(paths: list[str]) -> list[str]:
    """Return the name of each run folder, or its whole path where two share a name."""
    names = [Path(path).name for path in paths]
    return [
        name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)
    ]


def _show(found: dict[str, Any]) -> None:
    console = Console(progress=False)
    console.table(*_table(found, "figures"))
    if found["settings"]:
        console.table(*_table(found, "settings"), title="settings that differ")
    else:
        console.line("their settings are the same")


def _table(found: dict[str, Any], part: str) -> tuple[list[str], list[list[str]]]:
    columns = ["", *labels(found["runs"])]
    rows = [
        [row["name"], *(_cell(row["name"], value) for value in row["values"])]
        for row in found[part]
    ]
    return columns, rows


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ABSENT
    if name.endswith("_error") and isinstance(value, float):
        return percent(value)
    return str(value)[:DIGEST_DIGITS] if name == "data_digest" else str(value)
