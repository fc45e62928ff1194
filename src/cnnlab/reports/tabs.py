"""What TensorBoard's tabs show of a run besides figures and pictures, made of plain values.

Each function returns summaries for `TensorboardWriter.summaries`. Text of strangers is escaped, and
everything has a bound: a histogram 64 bins, a precision-recall curve 127 thresholds.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.evaluation.precision_recall import NUM_THRESHOLDS, ClassCurve
from cnnlab.models.summary import Row
from cnnlab.safe_output import escape_control

NUM_BINS = 64
"""Bins of a histogram: a kilobyte."""

CHARTS = {
    "Training": {
        "loss: training and validation": ["train/loss", "validation/loss"],
        "error: validation, test": [
            *("validation/top1_error", "validation/top5_error", "validation/(raw|ema)_top1_error"),
            "test/top1_error",
        ],
        "gradient norm": ["train/gradient_norm"],
        "learning rate": ["train/learning_rate", "learning_rate/.+"],
    }
}
"""Charts of the tab Custom Scalars, each with patterns of the figures in it, by category."""


def words(tag: str, text: str) -> Any:
    """Return text for the tab Text as it was written: a block in which nothing is formatted."""
    lines = [f"    {escape_control(line)}" for line in text.split("\n")]
    return _text(tag, "\n".join(lines))


def table(tag: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Return a table for the tab Text; the first column names the rows, the others are numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    cells = [[_cell(cell) for cell in line] for line in lines]
    return _text(tag, "\n".join(f"| {' | '.join(line)} |" for line in cells))


def figure(tag: str, value: float) -> Any:
    """Return a single figure, which the tab HParams compares between runs."""
    from torch.utils.tensorboard import summary

    return summary.scalar(tag, value)


def charts() -> Any:
    """Return the layout of the tab Custom Scalars: what belongs together is in one chart."""
    from torch.utils.tensorboard import summary

    layout = {
        category: {
            title: ["Multiline", [f"^{pattern}$" for pattern in patterns]]
            for title, patterns in of_category.items()
        }
        for category, of_category in CHARTS.items()
    }
    return summary.custom_scalars(layout)


def graph(input_size: Sequence[int], rows: Iterable[Row]) -> bytes:
    """Return the layers of a network as a graph, serialized: sizes on the edges, counts inside.

    Ours is the chain of layers as the summary has it; a trace would show several nodes for each,
    and would run the network.
    """
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    made = GraphDef()
    made.versions.producer = 22
    before = _node(made, "images", "input", None, list(input_size))
    for row in rows:
        before = _node(made, row.name, row.role, before, row.output_size)
        made.node[-1].attr["parameters"].i = row.num_parameters
        made.node[-1].attr["multiply_adds"].i = row.num_multiply_adds
    return bytes(made.SerializeToString())


def _node(made: Any, name: str, role: str, before: str | None, size: list[int]) -> str:
    """Add a node and return its name; the size is [C,H,W] or [features]."""
    # a name with a slash would be drawn as a group
    node = made.node.add(name=escape_control(name).replace("/", "_"), op=escape_control(role))
    if before is not None:
        node.input.append(before)
    shape = node.attr["_output_shapes"].list.shape.add()
    for side in (-1, *size):  # -1: any number of images
        shape.dim.add(size=side)
    return str(node.name)


def settings(plain: Mapping[str, Any]) -> Any:
    """Return a run's hyperparameters for the tab HParams; null ones are left out.

    Only they are written, not a list of the columns of the table: TensorBoard takes such a list of
    one run for all of them, and finds the columns of a sweep, those that differ first, without it.
    """
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo()
    for key, value in plain.items():
        place = start.hparams[key]
        if isinstance(value, bool):
            place.bool_value = value
        elif isinstance(value, int | float):
            place.number_value = value
        elif value is not None:
            place.string_value = escape_control(str(value))

    content = HParamsPluginData(session_start_info=start, version=metadata.PLUGIN_DATA_VERSION)
    return _of_plugin(metadata.SESSION_START_INFO_TAG, metadata.PLUGIN_NAME, content)


def ended() -> Any:
    """Return for the tab HParams that the run has ended well."""
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
    content = HParamsPluginData(session_end_info=end, version=metadata.PLUGIN_DATA_VERSION)
    return _of_plugin(metadata.SESSION_END_INFO_TAG, metadata.PLUGIN_NAME, content)


def histogram(tag: str, values: Tensor) -> Any:
    """Return a histogram of finite values in 64 equal bins; None where one is not finite.

    Counted on the device of the values, so that no copy of a large layer is made.
    """
    from torch.utils.tensorboard import summary

    flat = values.detach().flatten().float()
    low, high = (float(bound) for bound in flat.aminmax())
    if not flat.numel() or not torch.isfinite(torch.tensor(high - low)):
        return None
    if low == high:
        counts, edges = [0.0, float(flat.numel())], [low, low + (abs(low) or 1.0) * 1e-6]
    else:
        counts = [0.0, *torch.histc(flat, NUM_BINS, low, high).tolist()]
        edges = torch.linspace(low, high, NUM_BINS + 1, dtype=torch.float64).tolist()

    sums = float(flat.sum()), float(flat.square().sum())
    return summary.histogram_raw(tag, low, high, flat.numel(), *sums, edges, counts)


def precision_recall(tag: str, curve: ClassCurve) -> Any:
    """Return the precision-recall curve of one class against all others."""
    from torch.utils.tensorboard import summary

    names = ("tp", "fp", "tn", "fn", "precision", "recall")
    columns = dict(zip(names, curve.rows, strict=True))
    return summary.pr_curve_raw(escape_control(tag), num_thresholds=NUM_THRESHOLDS, **columns)


def _text(tag: str, markdown: str) -> Any:
    from torch.utils.tensorboard import summary

    made = summary.text(tag, markdown)
    made.value[0].tag = tag  # without the ending that torch adds
    return made


def _cell(text: str) -> str:
    """Return text for a cell of a table in Markdown, shown as it is."""
    shown = html.escape(escape_control(str(text)))
    return "".join(f"&#{ord(c)};" if c in "|*_`[]\\~" else c for c in shown)


def _of_plugin(tag: str, plugin: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content.SerializeToString())
    metadata = SummaryMetadata(plugin_data=data)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata)])
