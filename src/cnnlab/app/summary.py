"""`cnnlab summary`: print the lecture's table of a network."""

import importlib
import json

from rich.console import Console
from rich.table import Table

from cnnlab import models
from cnnlab.config import Launch, SummaryConfig
from cnnlab.models.summary import Row, Summary, summarize

TABLE_ROLES = ("conv", "fc", "rbf", "pool", "subsample", "norm", "local")
"""Layers that the printed table shows; the JSON document has all of them."""


def run(config: SummaryConfig, launch: Launch) -> int:
    """Build the network, print its table or its JSON document, return 0."""
    for module in config.plugins:
        importlib.import_module(module)
    usual = models.USUAL_INPUT[config.model.name]
    chosen = (config.in_channels, config.input_size_pixels, config.num_classes)
    channels, size, classes = (
        own if given is None else given for given, own in zip(chosen, usual, strict=True)
    )
    network = models.build(
        config.model, in_channels=channels, input_size_pixels=size, num_classes=classes, seed=0
    )
    summary = summarize(network, config.model.name)
    if config.format == "json":
        print(json.dumps(summary.as_document(), indent=2))
    else:
        _print(summary)
    return 0


def _print(summary: Summary) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = [row for row in summary.rows if row.role in TABLE_ROLES]
    console.print(_table(summary, rows))
    console.print(
        f"\n{summary.num_parameters:,} parameters, {summary.fc_share:.2%} of them in fully "
        f"connected layers; {summary.num_multiply_adds:,} multiply-adds an image.\n"
    )
    console.print("the same by hand")
    for row in rows:
        for formula in filter(None, (row.size_formula, row.parameter_formula)):
            console.print(f"  {row.name:<8} {formula}", markup=False)


def _table(summary: Summary, rows: list[Row]) -> Table:
    size = "x".join(map(str, summary.input_size))
    title = f"{summary.model} on {size}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "output size"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "multiply-adds", "field", "jump"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            "x".join(map(str, row.output_size)),
            f"{row.num_parameters:,}",
            f"{row.num_multiply_adds:,}",
            str(row.receptive_field_pixels),
            str(row.jump_pixels) if row.jump_pixels else "-",
        )
    return table
