"""What a section is given: a device, a deadline, and a place for what it finds.

Imports no torch, so that the parts of the deadlines are tested without.
"""

import json
import time
from pathlib import Path
from typing import Any


class Task:
    """The work of one section.

    device: cpu, cuda or cuda:N. folder: for files that the user keeps. ends: the time of
    `time.monotonic` at which the process is killed; what was noted until then is kept.
    """

    def __init__(self, device: str, folder: Path, ends: float, rows: Path) -> None:
        self.device, self.folder = device, folder
        self.num_failures = 0
        self._ends, self._rows = ends, rows

    @property
    def is_rehearsal(self) -> bool:
        """Return whether this is a CPU: everything runs, with tiny networks and few steps."""
        return self.device == "cpu"

    def left(self) -> float:
        """Return the seconds until the process is killed."""
        return self._ends - time.monotonic()

    def note(self, line: str = "", **facts: Any) -> None:
        """Keep a row of figures. line: the same for people, in the table at the end."""
        self._write({"line": line, **facts} if line else facts)

    def check(self, claim: str, holds: bool, **facts: Any) -> None:
        """Keep whether a claim holds; the section fails where one does not."""
        self.num_failures += not holds
        found = ", ".join(f"{name}={value}" for name, value in facts.items())
        line = "" if holds else f"DOES NOT HOLD: {claim} ({found})"
        self.note(line, claim=claim, holds=bool(holds), **facts)

    def failed(self, case: str, error: Exception) -> None:
        """Keep that one case raised; the others go on."""
        what = f"{type(error).__name__}: {error}".split("\n")[0][:300]
        self.num_failures += 1
        self.note(f"FAILED: {case}: {what}", case=case, error=what)

    def has_time(self, seconds: float, case: str) -> bool:
        """Return whether there is time for `case`, and keep that it was left out where not."""
        if self.left() > seconds:
            return True
        self._write({"left_out": case})
        return False

    def _write(self, row: dict[str, Any]) -> None:
        with open(self._rows, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
