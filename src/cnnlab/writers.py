"""Writers of a run's metrics: metrics.jsonl, metrics.csv, and several writers as one.

metrics.jsonl is the record; the others are for reading. A writer that fails is dropped with one
warning: logging never stops training.
"""

import contextlib
import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from cnnlab.errors import CheckpointError, UnwritableError
from cnnlab.files import atomic, regular
from cnnlab.safe_output import escape_control

MOST_METRICS_BYTES = 4 << 30
"""Bytes of metrics.jsonl that a resumed run goes through: ten million lines or more."""

MOST_TABLE_BYTES = 64 << 20
"""Bytes of metrics.csv: some hundred thousand epochs."""


class Writer(Protocol):
    """Takes metrics. Steps never decrease; a metric is written at most once per step."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write named numbers; names have the form group/name."""

    def images(self, step: int, name: str, picture: Tensor) -> None:
        """Write one picture [3,H,W] or [1,H,W], uint8."""

    def close(self) -> None:
        """Flush and close."""


class JsonlWriter:
    """One JSON object per line, {"step": ..., "group/name": ...}.

    On resume the lines after `from_step` are removed, here and in CsvWriter.
    """

    takes_images = False

    def __init__(self, path: Path, *, from_step: int = 0) -> None:
        _keep_lines(path, lambda line: _step_of_json(line) <= from_step)
        self._file = regular.append(path)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")

    def images(self, step: int, name: str, picture: Tensor) -> None:
        """Leave pictures to TensorBoard."""

    def close(self) -> None:
        self._file.close()


class CsvWriter:
    """One row per epoch, for spreadsheets; the first row decides the columns."""

    takes_images = False

    def __init__(self, path: Path, *, from_step: int = 0) -> None:
        header = _keep_lines(path, lambda line: _step_of_csv(line) <= from_step)
        self._columns = next(csv.reader([header])) if header else []
        self._file = regular.append(path)
        self._rows = csv.writer(self._file)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if "epoch" not in values:
            return

        if not self._columns:
            self._columns = ["step", *values]
            self._rows.writerow(self._columns)

        row = {"step": step, **values}
        self._rows.writerow([row.get(column, "") for column in self._columns])

    def images(self, step: int, name: str, picture: Tensor) -> None:
        """Leave pictures to TensorBoard."""

    def close(self) -> None:
        self._file.close()


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Return the rows of a metrics.csv, one per epoch, without empty cells; none without a file.

    Raises CheckpointError for a file that a run cannot have written.
    """
    try:
        text = regular.read(path, MOST_TABLE_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []

    try:
        rows = list(csv.DictReader(text.splitlines()))
        return [{key: float(cell) for key, cell in row.items() if key and cell} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:  # TypeError: more cells than columns
        raise CheckpointError(
            "the table of a run's epochs is damaged",
            escape_control(str(path)),
            f"remove it, and there are no curves ({escape_control(str(error))[:100]})",
        ) from error


class Writers:
    """Write to several writers; one that cannot be opened or fails is dropped with a warning."""

    def __init__(self, open_each: list[Callable[[], Any]], warn: Callable[[str], None]) -> None:
        self._writers: list[Any] = []
        self._warn = warn
        for open_one in open_each:
            try:
                self._writers.append(open_one())
            except (OSError, UnwritableError) as error:
                warn(f"warning: a log cannot be opened: {error}; training continues without it")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda writer: writer.scalars(step, values))

    def images(self, step: int, name: str, picture: Tensor) -> None:
        self._each(lambda writer: writer.images(step, name, picture))

    @property
    def take_images(self) -> bool:
        """Return whether a writer keeps pictures: all do but the tables of metrics."""
        return any(getattr(writer, "takes_images", True) for writer in self._writers)

    @property
    def take_summaries(self) -> bool:
        """Return whether a writer takes summaries: TensorBoard, unless it failed."""
        return any(hasattr(writer, "summaries") for writer in self._writers)

    def summaries(self, step: int, summaries: Sequence[Any]) -> None:
        """Write what TensorBoard alone can show to the writers that take it."""
        self._each(lambda w: w.summaries(step, summaries) if hasattr(w, "summaries") else None)

    def close(self) -> None:
        self._each(lambda writer: writer.close())

    def _each(self, action: Callable[[Any], None]) -> None:
        for writer in list(self._writers):
            try:
                action(writer)
            except Exception as error:
                self._writers.remove(writer)
                with contextlib.suppress(Exception):  # or it fails again when garbage-collected
                    writer.close()
                self._warn(f"warning: {type(writer).__name__} stopped: {error}; training continues")


def _keep_lines(path: Path, keep: Callable[[bytes], bool]) -> str:
    """Remove all other lines, and an incomplete last one, from `path`; return the first line.

    The file is gone through line by line, twice where lines are to be removed.
    """

    def kept() -> Iterator[bytes]:
        everything = regular.lines(path, MOST_METRICS_BYTES)
        return (line for line in everything if line.endswith(b"\n") and keep(line))

    num_bytes = sum(map(len, kept()))
    if path.is_file() and num_bytes != path.stat().st_size:
        with atomic.replacing(path, num_bytes) as file:
            for line in kept():
                file.write(line)
    return next(kept(), b"").decode(errors="replace")


def _step_of_json(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")


def _step_of_csv(line: bytes) -> float:
    try:
        first = next(csv.reader(io.StringIO(line.decode(errors="replace"))), ["inf"])[0]
        return -1 if first == "step" else float(first)
    except (ValueError, IndexError, csv.Error):
        return float("inf")
