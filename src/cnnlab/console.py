"""What a person sees in the terminal: lines, tables, one live bar; the lines also go to a log."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cnnlab.printable import printable

REFRESHES_PER_SECOND = 5


class Console:
    """Print lines and tables to stdout, keep a live bar below them, and copy lines to a log file.

    The bar appears only on a terminal (not in pipes, CI or TERM=dumb) and only if `progress`.
    """

    def __init__(self, *, progress: bool = True, stream: IO[str] | None = None) -> None:
        self._rich = RichConsole(file=stream or sys.stdout, highlight=False, soft_wrap=True)
        self._progress_wanted = (
            progress and self._rich.is_terminal and not self._rich.is_dumb_terminal
        )
        self._log: IO[str] | None = None
        self._bar: Progress | None = None
        self._next_refresh = 0.0

    def log_to(self, path: Path) -> None:
        """Append all further lines to `path`, each with its time; without success, only say so."""
        try:
            self._log = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            self.line(f"warning: {path} cannot be written: {error}; going on without a log")

    def line(self, text: str = "") -> None:
        """Print one line (control characters escaped) and log it."""
        text = printable(text)
        self._rich.print(text, markup=False)
        self.record(text)

    def record(self, text: str) -> None:
        """Write to the log only; a log that cannot be written is given up silently."""
        if self._log is None:
            return
        stamp = time.strftime("%H:%M:%S")
        try:
            self._log.write("".join(f"{stamp} {line}\n" for line in text.splitlines() or [""]))
        except OSError:
            with contextlib.suppress(OSError):
                self._log.close()
            self._log = None

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Print a table: first column to the left, the others to the right; the last row is a total
        if it starts with 'total'."""
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        for i, column in enumerate(columns):
            table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
        for row in rows:
            cells = [printable(cell) for cell in row]
            table.add_row(*cells, style="bold" if cells[0].startswith("total") else "")
        self._rich.print(table)
        self.record("\n".join("  ".join(row) for row in [columns, *rows]))

    def start_bar(
        self, total: int, completed: int, description: str, *, unit: str = "steps"
    ) -> None:
        """Show the live bar; without a terminal do nothing."""
        if not self._progress_wanted:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self._rich,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )
        self._bar.add_task(description, total=total, completed=completed)
        self._bar.start()
        self._rich.show_cursor()  # rich hides it, and a killed process could not give it back

    def advance_bar(self, completed: int, describe: Callable[[], str]) -> None:
        """Move the bar; cheap enough to be called after every step."""
        if self._bar is None or time.monotonic() < self._next_refresh:
            return
        self._next_refresh = time.monotonic() + 1 / REFRESHES_PER_SECOND
        self._bar.update(self._bar.task_ids[0], completed=completed, description=describe())

    def stop_bar(self) -> None:
        """Take the bar away and give the cursor back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Stop the bar and close the log."""
        self.stop_bar()
        if self._log is not None:
            self._log.close()
            self._log = None
