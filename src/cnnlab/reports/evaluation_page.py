"""The report of an evaluation, and its figures as a file for machines."""

from pathlib import Path

from cnnlab import run_folder, runtime
from cnnlab.files import atomic
from cnnlab.inference.result import (
    EvaluationResult,
    disagreement_table,
    document,
    member_table,
    subset_table,
)
from cnnlab.plain_json import json_text
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.page import Part, Section, Table, Text
from cnnlab.run_folder import provenance


def write(result: EvaluationResult, folder: Path, command: str) -> Path:
    """Write evaluation_<split>_<views>.html and .json into `folder`; return the page's path.

    A later evaluation of the same split and views replaces them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"evaluation_{result.config.split}_{result.views}"
    text = json_text(document(result)) + "\n"
    atomic.write_bytes(folder / f"{stem}.json", text.encode())
    return report.write(folder / f"{stem}.html", result.title, page(result, command))


def page(result: EvaluationResult, command: str) -> list[Section]:
    """Return everything that was found, the most asked-for first."""
    names, tally = result.store.class_names, result.tally
    first: list[Part] = [
        Text(f"{result.store.describe()}; views: {result.views}"),
        sections.figures(tally),
    ]
    first += [Text(line) for line in (result.note, result.warning) if line]
    device = result.networks[0].device
    facts = {
        "time": run_folder.now(),
        "device": runtime.describe_device(device),
        "checkpoints": result.checkpoints,
        **provenance.describe(),
    }
    return [
        Section("Figures", first),
        *_ensemble(result),
        sections.confusion(tally, names),
        sections.misses(result.misses, result.store),
        sections.classes(tally, names),
        sections.calibration(tally),
        sections.kernels(result.networks[0].network),
        sections.settings(result.networks[0].config, "Settings of the first network's training"),
        sections.environment(facts, command),
    ]


def _ensemble(result: EvaluationResult) -> list[Section]:
    if result.counts is None:
        return []
    return [
        Section("Members", [Table(*member_table(result))]),
        Section(
            "Ensembles by size",
            [
                Text(
                    "Top-1 error of all subsets of that size, equal weights: mean, lowest, highest."
                ),
                Table(*subset_table(result)),
            ],
        ),
        Section(
            "Disagreement",
            [
                Text("Share of images that two members name differently."),
                Table(*disagreement_table(result)),
            ],
        ),
    ]
