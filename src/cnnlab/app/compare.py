"""`cnnlab compare`: put runs side by side, their settings, figures and curves."""

import json
from pathlib import Path
from typing import Any

from cnnlab import repetitions
from cnnlab.config import CompareConfig, Launch, flat
from cnnlab.console import Console
from cnnlab.errors import UsageError
from cnnlab.percentages import percent
from cnnlab.plain_json import json_text
from cnnlab.repetitions import Group, Run
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.curves import overlaid
from cnnlab.reports.page import Part, Section, Table, Text
from cnnlab.run_folder import RunFolder, current_status, find_run, list_runs
from cnnlab.safe_output import write_out
from cnnlab.writers import read_epochs

FIGURES = ("status", "best_validation_error", "test_error", "seed", "device", "data_digest")
SOMETIMES = ("which_weights",)
"""Figures that are shown where a run has them: of those with an average, which weights are judged.
"""
ABSENT = "-"
MOST_COLUMNS = 4
"""Runs that a terminal shows side by side; of more there is one line per group of runs."""

DIGEST_DIGITS = 12
"""Hexadecimal digits of a digest that messages show."""


def run(config: CompareConfig, launch: Launch) -> int:
    """Print figures and differing settings of the runs, together over their seeds; return 0."""
    runs = [run for where in config.runs for run in runs_of(where)]
    if len({run.path.resolve() for run in runs}) < 2:
        raise UsageError("compare needs two runs or more", hint="runs=[outputs/A,outputs/B]")

    found, groups = compare(runs), groups_of(runs)
    if config.format == "json":
        write_out(json_text({**found, "groups": [group.facts() for group in groups]}))
    elif config.format == "csv":
        write_out(repetitions.csv_text(groups).rstrip())
    else:
        _show(found, groups)

    if config.output is not None:
        sections = page(runs, found, groups, launch.command)
        report.write(Path(config.output), "Runs side by side", sections)
    return 0


def runs_of(where: str) -> list[RunFolder]:
    """Return the run of a folder, or those in it: a sweep's, say. Raises UsageError without any."""
    inside = list_runs(where) if where != "latest" and Path(where).is_dir() else []
    return [RunFolder(facts["path"]) for facts in inside] or [find_run(where)]


def groups_of(runs: list[RunFolder]) -> list[Group]:
    """Return the runs as groups that differ in their seed alone, the best first."""
    settings = [flat(run.read_config()) for run in runs]
    names = [name for name in _differing(settings) if name not in ("seed", "resume")]
    found = []
    for label, run, plain in zip(labels([str(r.path) for r in runs]), runs, settings, strict=True):
        facts = current_status(run)
        status = str(facts.get("status"))
        error = str(facts.get("error") or "").partition("\n")[0]
        found.append(
            Run(
                name=label,
                settings=tuple(f"{name}={_as_word(plain.get(name))}" for name in names),
                seed=str(plain.get("seed")),
                validation_error=_number(facts.get("best_validation_error")),
                test_error=_number(facts.get("test_error")),
                status=status,
                reason="" if status == repetitions.DONE else error,
            )
        )
    return repetitions.grouped(found)


def _differing(settings: list[dict[str, Any]]) -> list[str]:
    """Return the names of the settings that are not the same in all runs, in order."""
    names = dict.fromkeys(name for plain in settings for name in plain)
    first, *others = settings
    return [name for name in names if any(o.get(name) != first.get(name) for o in others)]


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def compare(runs: list[RunFolder]) -> dict[str, Any]:
    """Return {"runs", "figures", "settings"}; settings that all runs share are left out.

    Figures and settings are lists of {"name", "values"}, one value per run in their order.
    """
    facts = [current_status(run) for run in runs]
    settings = [flat(run.read_config()) for run in runs]
    shown = [*FIGURES, *(name for name in SOMETIMES if any(name in fact for fact in facts))]
    return {
        "runs": [str(run.path) for run in runs],
        "figures": [{"name": name, "values": [fact.get(name) for fact in facts]} for name in shown],
        "settings": [
            {"name": name, "values": [plain.get(name) for plain in settings]}
            for name in _differing(settings)
            if name != "resume"
        ],
    }


def page(
    runs: list[RunFolder], found: dict[str, Any], groups: list[Group], command: str
) -> list[Section]:
    """Return the sections of the page: tables, and one curve per run in each chart."""
    differing = _table(found, "settings")
    epochs = [read_epochs(run.path / "metrics.csv") for run in runs]
    charts = overlaid(dict(zip(labels(found["runs"]), epochs, strict=True)))

    over_seeds: list[Part] = [Table(*repetitions.table(groups, "runs"))]
    over_seeds += [Text(line) for line in repetitions.remarks(groups, "run")]

    return [
        *([Section("Over seeds", over_seeds)] if repetitions.are_repeated(groups) else []),
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


def _show(found: dict[str, Any], groups: list[Group]) -> None:
    console = Console(progress=False)
    are_many = len(found["runs"]) > MOST_COLUMNS
    if are_many or repetitions.are_repeated(groups):
        console.table(*repetitions.table(groups, "runs"), num_names=2)
        for line in repetitions.remarks(groups, "run"):
            console.line(line)
    if are_many:
        return

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
