"""`cnnlab compare`: put runs side by side, their settings, figures and curves."""

from pathlib import Path
from typing import Any

from cnnlab.config import CompareConfig, Launch
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.printable import write_out
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.page import Section, Text
from cnnlab.run_folder import RunFolder, find_run
from cnnlab.trainer import run_page
from cnnlab.trainer.reporter import flat
from cnnlab.visualization import charts

FIGURES = ("status", "best_validation_error", "test_error", "seed", "device", "data_digest")
ABSENT = "-"
DIGEST_DIGITS = 12
"""Of a digest, as all messages show it."""


def run(config: CompareConfig, launch: Launch) -> int:
    """Print what differs between the runs and what came of them; return 0."""
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
    """Return {"runs", "figures", "settings"}; of the settings only those that differ.

    Figures and settings are lists of {"name", "values"}, the values in the order of the runs.
    """
    facts = [run.status() for run in runs]
    settings = [flat(run.read_config()) for run in runs]
    names = list(dict.fromkeys(name for plain in settings for name in plain))
    return {
        "runs": [str(run.path) for run in runs],
        "figures": [
            {"name": name, "values": [fact.get(name) for fact in facts]} for name in FIGURES
        ],
        "settings": [
            {"name": name, "values": [plain.get(name) for plain in settings]}
            for name in names
            if name != "resume" and any(p.get(name) != settings[0].get(name) for p in settings[1:])
        ],
    }


def page(runs: list[RunFolder], found: dict[str, Any], command: str) -> list[Section]:
    """Return tables and overlaid curves."""
    columns, rows = _table(found, "figures")
    differing = _table(found, "settings")
    curves = [
        sections.drawn(charts.curves(name, label, lines, label, logarithmic=name == "loss"))
        for name, label, lines in overlaid(runs)
    ]
    return [
        Section("Figures", [report.Table(columns, rows)]),
        Section("Settings that differ", [report.Table(*differing)] if differing[1] else []),
        Section("Curves", [*curves]),
        Section("Made by", [Text(command, preformatted=True)]),
    ]


def overlaid(runs: list[RunFolder]) -> list[tuple[str, str, dict[str, charts.Curve]]]:
    """Return (name, label, a curve a run) for each figure that at least one run has."""
    names = labels([str(run.path) for run in runs])
    epochs = {name: run_page.read_epochs(run) for name, run in zip(names, runs, strict=True)}
    wanted = (
        ("error", "top-1 error on validation", "validation/top1_error"),
        ("loss", "loss on validation", "validation/loss"),
        ("training_loss", "loss on training images", "train/loss"),
    )
    found = []
    for name, label, key in wanted:
        lines = {run: run_page.curve(rows, key) for run, rows in epochs.items()}
        drawn: dict[str, charts.Curve] = {run: points for run, points in lines.items() if points}
        if drawn:
            found.append((name, label, drawn))
    return found


def labels(paths: list[str]) -> list[str]:
    """Name each run by its folder, and by its whole path where two folders share a name."""
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
