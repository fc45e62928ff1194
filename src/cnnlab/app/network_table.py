"""`cnnlab summary model=NAME`: the lecture's table of a network, statistics at initialization."""

import dataclasses
from functools import partial

import torch
from torch import Tensor

from cnnlab import data, models, session
from cnnlab.app.communication import Communication
from cnnlab.config import MODELS, Launch, SummaryConfig
from cnnlab.console import Console
from cnnlab.data.stats import preprocessing_for
from cnnlab.models import Network
from cnnlab.models.init_report import InitReport, report_start
from cnnlab.models.summary import Row, Summary, summarize, summarize_unbuilt
from cnnlab.plain_json import json_text
from cnnlab.runtime import make_generator
from cnnlab.safe_output import write_out

TABLE_ROLES = ("conv", "fc", "rbf", "pool", "subsample", "norm", "batch_norm", "local")
"""Layers that the printed table shows; the JSON document has all of them."""


def show(config: SummaryConfig, launch: Launch) -> int:
    """Print the table or the JSON document of a network and return 0.

    Weights are drawn for `init_report=true` alone; the table needs only their shapes. A network of
    two devices is built on one: the same layers.
    """
    name = config.model.name
    start = None

    if config.init_report:
        network = _build(config)
        summary = summarize(network, name)
        with session.skip_hint(launch):
            start = report_start(network, _real_images(config, network))
    else:
        summary = summarize_unbuilt(partial(_build, config), name)

    exchange = None
    if config.communication is not None:
        exchange = Communication(summary, config.communication, config.images_per_worker)

    if config.format == "json":
        document = summary.as_document()
        document |= {"start": start.as_document()} if start else {}
        document |= {"communication": exchange.as_document()} if exchange else {}
        write_out(json_text(document))
        return 0

    _print(summary)
    if start:
        _print_start(start)
    if exchange:
        exchange.print()
    return 0


def _build(config: SummaryConfig) -> Network:
    """Build the network for the sizes in `config`, by default those it was published for."""
    usual = MODELS[config.model.name].usual_input
    chosen = (config.in_channels, config.input_size_pixels, config.num_classes)
    channels, size, classes = (
        own if given is None else given for given, own in zip(chosen, usual, strict=True)
    )

    return models.build(
        models.on_one_device(config.model),
        in_channels=channels,
        input_size_pixels=size,
        num_classes=classes,
        seed=config.seed,
    )


def _real_images(config: SummaryConfig, network: Network) -> Tensor:
    """Return normalized training images of the data set, [N, C, S, S]."""
    dataset = dataclasses.replace(config.dataset, image_size_pixels=network.input_size_pixels)
    train = data.build(dataset).train
    preprocessing = preprocessing_for(train, dataset, network.in_channels)
    order = torch.randperm(len(train), generator=make_generator(config.seed, "init_report"))
    pixels = train.read(order[: config.num_images].sort().values).permute(0, 3, 1, 2)
    return preprocessing.normalize(preprocessing.prepare(pixels))


def _print(summary: Summary) -> None:
    console = Console(progress=False)

    rows = [row for row in summary.rows if row.role in TABLE_ROLES]
    size = "x".join(map(str, summary.input_size))
    columns = ("layer", "output size", "parameters", "multiply-adds", "field", "jump")
    cells = [_cells(row) for row in rows]
    console.table(columns, cells, title=f"{summary.model} on {size}", num_names=2)

    console.line()
    console.line(
        f"{summary.num_parameters:,} parameters, {summary.fc_share:.2%} of them in fully "
        f"connected layers; {summary.num_multiply_adds:,} multiply-adds per image."
    )

    console.line()
    console.line("the formulas")
    for row in rows:
        for formula in filter(None, (row.size_formula, row.parameter_formula)):
            console.line(f"  {row.name:<8} {formula}")


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        "x".join(map(str, row.output_size)),
        f"{row.num_parameters:,}",
        f"{row.num_multiply_adds:,}",
        str(row.receptive_field_pixels),
        str(row.jump_pixels) if row.jump_pixels else "-",
    ]


def _print_start(start: InitReport) -> None:
    console = Console(progress=False)

    rows = []
    for layer in start.layers:
        figures = [f"{figure:.3g}" for figure in (layer.mean, layer.std, layer.signal)]
        dead, share = f"{layer.dead_share:.0%}", f"{layer.signal_share:.0%}"
        rows.append([layer.name, *figures[:2], dead, figures[2], share])

    console.line()
    columns = ("layer", "mean", "std", "dead", "signal", "share")
    console.table(columns, rows, title="outputs before training, on real images")

    verdict = "enough to train" if start.can_train else "likely to stall at the 2012 rates"
    console.line()
    console.line(
        f"{start.score_share:.1%} of the scores depends on the image: {verdict} "
        f"(networks above {start.least_share():.1%} are known to train)."
    )
