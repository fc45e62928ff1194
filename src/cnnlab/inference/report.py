"""The report of an evaluation in a folder: a page for people, and the same figures as JSON."""

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
from cnnlab.reports import evaluation_page, page
from cnnlab.reports.page import Section
from cnnlab.reports.sections import Findings
from cnnlab.run_folder import provenance


def write(result: EvaluationResult, folder: Path, command: str) -> Path:
    """Write evaluation_<split>_<views>.html and .json into `folder`; return the page's path.

    `_raw` or `_ema` follows where such weights were asked for. A later evaluation of the same
    split, views and weights replaces them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = result.config.which_weights
    stem = f"evaluation_{result.config.split}_{result.views}" + (f"_{asked}" if asked else "")
    text = json_text(document(result)) + "\n"
    atomic.write_bytes(folder / f"{stem}.json", text.encode())
    return page.write(folder / f"{stem}.html", result.title, sections_of(result, command))


def sections_of(result: EvaluationResult, command: str) -> list[Section]:
    """Return the sections of the page."""
    first = result.networks[0]
    tables = (member_table(result), subset_table(result), disagreement_table(result))
    facts = {
        "time": run_folder.now(),
        "device": runtime.describe_device(first.device),
        "checkpoints": result.checkpoints,
        **provenance.describe(),
    }

    return evaluation_page.page(
        Findings.on(result.store, result.tally, result.misses, f"views: {result.views}"),
        [line for line in (result.note, result.warning) if line],
        evaluation_page.ensemble(*tables) if result.counts is not None else [],
        next(first.network.parameters()),
        first.config,
        facts,
        command,
    )
