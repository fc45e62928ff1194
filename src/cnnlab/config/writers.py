"""Settings of a writer of metrics beside the built-in ones, and the table of writers."""

from dataclasses import dataclass

from cnnlab.config.schema import setting
from cnnlab.config.tables import Choice, Table


@dataclass(kw_only=True)
class WriterConfig:
    """No further writer: metrics.jsonl, metrics.csv and TensorBoard have all figures."""

    name: str = setting("name of the writer", earlier="none")


WRITERS = Table(
    "writer",
    WriterConfig,
    {"none": Choice(WriterConfig, "cnnlab.own_writers:build_none")},
)
"""Builders: (settings, RunInfo) -> Writer (`writers.py`), or None for none."""
