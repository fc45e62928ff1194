"""The report of an evaluation, and its figures as a file for machines."""

from pathlib import Path

from cnnlab import run_folder, runtime
from cnnlab.files import atomic
from cnnlab.inference.answer import Answer, document, member_table, short_name, subset_table
from cnnlab.plain_json import json_text
from cnnlab.reports import page as report
from cnnlab.reports import sections
from cnnlab.reports.page import Part, Section, Table, Text
from cnnlab.run_folder import provenance


def write(answer: Answer, folder: Path, command: str) -> Path:
    """Write evaluation_<split>_<views>.html and .json into `folder`; return the page's path.

    A later evaluation of the same split and views replaces them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"evaluation_{answer.config.split}_{answer.views}"
    text = json_text(document(answer)) + "\n"
    atomic.write_bytes(folder / f"{stem}.json", text.encode())
    return report.write(folder / f"{stem}.html", title_of(answer), page(answer, command))


def title_of(answer: Answer) -> str:
    """Say who was tested on what."""
    names = [str(network.config["model"]["name"]) for network in answer.networks]
    who = names[0] if len(names) == 1 else f"ensemble of {len(names)}"
    return f"{who} on {answer.store.name}, {answer.config.split} images"


def page(answer: Answer, command: str) -> list[Section]:
    """Return everything that was found, the most asked-for first."""
    names, tally = answer.store.class_names, answer.tally
    first: list[Part] = [
        Text(f"{answer.store.describe()}; views: {answer.views}"),
        sections.figures(tally),
    ]
    first += [Text(line) for line in (answer.note, answer.warning) if line]
    device = answer.members[0].preprocessing.mean.device
    facts = {
        "time": run_folder.now(),
        "device": runtime.describe_device(device),
        "checkpoints": [str(network.path) for network in answer.networks],
        **provenance.describe(),
    }
    return [
        Section("Figures", first),
        *_ensemble(answer),
        sections.confusion(tally, names),
        sections.misses(answer.misses, answer.store),
        sections.classes(tally, names),
        sections.calibration(tally),
        sections.kernels(answer.networks[0].network),
        sections.settings(answer.networks[0].config, "Settings of the first network's training"),
        sections.environment(facts, command),
    ]


def _ensemble(answer: Answer) -> list[Section]:
    if answer.counts is None:
        return []
    names = [short_name(member.name) for member in answer.members]
    rows = [
        [name, *(f"{100 * share:.2f} %" for share in shares)]
        for name, shares in zip(names, answer.disagreement, strict=True)
    ]
    numbers = [str(i + 1) for i in range(len(names))]
    return [
        Section("Members", [Table(*member_table(answer))]),
        Section(
            "Ensembles by size",
            [
                Text(
                    "Top-1 error of all subsets of that size, equal weights: mean, lowest, highest."
                ),
                Table(*subset_table(answer)),
            ],
        ),
        Section(
            "Disagreement",
            [
                Text("Share of images that two members name differently."),
                Table(["member", *numbers], rows),
            ],
        ),
    ]
