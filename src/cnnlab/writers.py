"""Writers of a run's metrics: metrics.jsonl, metrics.csv and TensorBoard, with one interface.

metrics.jsonl is the record; the others are for reading. A writer that fails is dropped with one
warning: logging never stops training.
"""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from cnnlab.safe_output import escape_control

FLUSH_SECONDS = 10


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

    def __init__(self, path: Path, *, from_step: int = 0) -> None:
        _keep_lines(path, lambda line: _step_of_json(line) <= from_step)
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")

    def images(self, step: int, name: str, picture: Tensor) -> None:
        """Leave pictures to TensorBoard."""

    def close(self) -> None:
        self._file.close()


class CsvWriter:
    """One row per epoch, for spreadsheets; the first row decides the columns."""

    def __init__(self, path: Path, *, from_step: int = 0) -> None:
        header = _keep_lines(path, lambda line: _step_of_csv(line) <= from_step)
        self._columns = next(csv.reader([header])) if header else []
        self._file = open(path, "a", encoding="utf-8", newline="", buffering=1)  # noqa: SIM115
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
    """Return the rows of a metrics.csv, one per epoch, without empty cells; none without a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    rows = csv.DictReader(text.splitlines())
    return [{key: float(cell) for key, cell in row.items() if key and cell} for row in rows]


class TensorboardWriter:
    """Event files in the run's folder; on resume the steps after `from_step` are hidden."""

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # imported late: it takes half a second

        self._writer = SummaryWriter(
            str(folder), purge_step=from_step + 1, flush_secs=FLUSH_SECONDS
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if "/" in name:
                self._writer.add_scalar(name, value, step)

    def images(self, step: int, name: str, picture: Tensor) -> None:
        self._writer.add_image(name, picture, step)

    def hparams(self, settings: Mapping[str, Any], figures: Sequence[str]) -> None:
        """Write the settings, to be shown beside the scalars named in `figures`.

        SummaryWriter.add_hparams would write into a new sub-folder, which TensorBoard shows as
        another run.
        """
        from torch.utils.tensorboard.summary import hparams

        plain = {
            key: value if isinstance(value, bool | int | float) else escape_control(str(value))
            for key, value in settings.items()
        }

        events = self._writer._get_file_writer()  # opens one if there is none yet
        for summary in hparams(plain, dict.fromkeys(figures, 0.0)):
            events.add_summary(summary)

    def close(self) -> None:
        self._writer.close()


class Writers:
    """Write to several writers; one that cannot be opened or fails is dropped with a warning."""

    def __init__(self, open_each: list[Callable[[], Any]], warn: Callable[[str], None]) -> None:
        self._writers: list[Any] = []
        self._warn = warn
        for open_one in open_each:
            try:
                self._writers.append(open_one())
            except OSError as error:
                warn(f"warning: a log cannot be opened: {error}; training continues without it")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda writer: writer.scalars(step, values))

    def images(self, step: int, name: str, picture: Tensor) -> None:
        self._each(lambda writer: writer.images(step, name, picture))

    def hparams(self, settings: Mapping[str, Any], figures: Sequence[str]) -> None:
        """Write the hyperparameters to the writers that take them."""
        self._each(lambda w: w.hparams(settings, figures) if hasattr(w, "hparams") else None)

    def close(self) -> None:
        self._each(lambda writer: writer.close())

    def _each(self, action: Callable[[Any], None]) -> None:
        for writer in list(self._writers):
            try:
                action(writer)
            except Exception as error:  # TensorBoard's thread passes any error on
                self._writers.remove(writer)
                with contextlib.suppress(Exception):  # or it fails again when garbage-collected
                    writer.close()
                self._warn(f"warning: {type(writer).__name__} stopped: {error}; training continues")


def _keep_lines(path: Path, keep: Callable[[str], bool]) -> str:
    """Remove all other lines, and an incomplete last one, from `path`; return the first line."""
    if not path.is_file():
        return ""

    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and keep(line)]
    if kept != lines:
        replacement = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        replacement.write_text("".join(kept), encoding="utf-8")
        os.replace(replacement, path)
    return kept[0] if kept else ""


def _step_of_json(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _step_of_csv(line: str) -> float:
    first = next(csv.reader(io.StringIO(line)), ["inf"])[0]
    if first == "step":
        return -1
    try:
        return float(first)
    except ValueError:
        return float("inf")
