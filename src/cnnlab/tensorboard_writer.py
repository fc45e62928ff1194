"""The writer of TensorBoard's event file: figures, pictures, and summaries made elsewhere."""

import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from cnnlab.files import regular


class TensorboardWriter:
    """One event file in the run's folder; on resume the steps after `from_step` are hidden.

    Each call is on disk when it returns. TensorBoard's own writer leaves that to a thread, which
    prints a traceback over the terminal when the disk is full.
    """

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        # imported late: it takes half a second
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self._new_event, self._summaries = Event, summary
        folder.mkdir(parents=True, exist_ok=True)
        regular.check_folder(folder)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._file = _new_file(folder, name)
        self._records = RecordWriter(self._file)

        try:
            self._add([{"file_version": "brain.Event:2"}])
            begins = SessionLog(status=SessionLog.START)
            self._add([{"step": from_step + 1, "session_log": begins}])
        except OSError:
            self._file.close()
            raise

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        figures = {name: value for name, value in values.items() if "/" in name}
        self._add(
            {"step": step, "summary": self._summaries.scalar(name, value)}
            for name, value in figures.items()
        )

    def images(self, step: int, name: str, picture: Tensor) -> None:
        drawn = self._summaries.image(name, picture, dataformats="CHW")
        self._add([{"step": step, "summary": drawn}])

    def summaries(self, step: int, summaries: Sequence[Any]) -> None:
        """Write summaries of any tab, and graphs as bytes (`reports.tabs` makes both)."""
        self._add(
            {"step": step, "graph_def": made}
            if isinstance(made, bytes)
            else {"step": step, "summary": made}
            for made in summaries
        )

    def close(self) -> None:
        self._file.close()

    def _add(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            self._records.write(self._new_event(wall_time=time.time(), **event).SerializeToString())


def _new_file(folder: Path, name: str) -> IO[bytes]:
    """Create and open a file that did not exist, `name` and a number."""
    number = 0
    while True:
        try:
            # unbuffered: what cannot be written is not tried again when the file is closed
            return open(folder / f"{name}.{number}", "xb", buffering=0)
        except FileExistsError:
            number += 1
