"""error.json in the run folder: which process failed first, and why."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cnnlab.errors import CheckpointError, CnnlabError
from cnnlab.files import regular
from cnnlab.plain_json import json_text

Record = Callable[[str], None]
"""Called with the error message; writes it where the run keeps its status."""


class ErrorFile:
    """Written once per job, by whichever process notices the failure first."""

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder, self._record = folder, record
        self._path = folder / "error.json"

    def remove(self) -> None:
        """Remove the file of an earlier attempt."""
        self._path.unlink(missing_ok=True)

    def read(self) -> tuple[int, str] | None:
        """Return rank and cause, None where there is no file or no such content."""
        try:
            facts = regular.read_json(self._path)
            return int(facts["rank"]), str(facts["cause"])
        except (OSError, ValueError, TypeError, KeyError, CheckpointError):
            return None

    def write(self, facts: dict[str, object], message: str) -> None:
        """Write `facts` and record `message`, unless another process was faster."""
        try:
            with open(self._path, "x", encoding="utf-8") as file:
                file.write(json_text(facts | {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}))
        except OSError:
            return

        with suppress(CnnlabError, OSError):
            self._record(message)
