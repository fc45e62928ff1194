"""Terminal output: lines, tables and a progress bar; lines and tables also go to a log.

The only file that uses rich. It gets `rich.text.Text`, never a string: a string would be parsed as
markup, and a class may be called `[dog]` or `:cat:`.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rich.cells import cell_len, set_cell_size
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from cnnlab.files import regular
from cnnlab.safe_output import escape_control, escape_lines, say
from cnnlab.streams import loss_of

REFRESHES_PER_SECOND = 5
GAP, ELLIPSIS = "  ", "..."

MIN_NAME_CELLS = 12
"""Cells that a shortened name keeps, however narrow the terminal is."""


class Console:
    """Print lines and tables to stdout, keep a live bar below them, and copy lines to a log file.

    The bar appears only on a terminal (not in pipes, CI or TERM=dumb) and only if `progress`.
    on_stderr: leave stdout to a document.
    """

    def __init__(
        self, *, progress: bool = True, stream: IO[str] | None = None, on_stderr: bool = False
    ) -> None:
        self._stream = stream or (sys.stderr if on_stderr else sys.stdout)
        self._rich = RichConsole(
            file=self._stream,
            force_terminal=False if _is_notebook(self._stream) else None,
            force_jupyter=False,  # rich would make an HTML block of each line
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self._progress_wanted = (
            progress and self._rich.is_terminal and not self._rich.is_dumb_terminal
        )
        self._log: IO[str] | None = None
        self._loss_is_told = False
        self._bar: Progress | None = None
        self._next_refresh = 0.0

    @property
    def width(self) -> int | None:
        """Return the columns of the terminal; None where there is none, and lines have no end."""
        return self._rich.width if self._rich.is_terminal else None

    def log_to(self, path: Path) -> None:
        """Append all later lines to `path`, each with its time; if that fails, only warn."""
        try:
            self._log = regular.append(path)
        except OSError as error:
            self.line(f"warning: {path} cannot be written: {error}; continuing without a log")

    def line(self, text: str = "") -> None:
        """Print one line (control characters escaped) and log it."""
        text = escape_control(text)
        self._rich.print(Text(text))
        self.record(text)
        self._tell_loss()

    def record(self, text: str) -> None:
        """Write to the log only; a log that cannot be written is silently given up."""
        if self._log is None:
            return

        text, stamp = escape_lines(text), time.strftime("%H:%M:%S")
        try:
            self._log.write("".join(f"{stamp} {line}\n" for line in text.splitlines() or [""]))
        except OSError:
            with contextlib.suppress(OSError):
                self._log.close()
            self._log = None

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        title: str = "",
        *,
        num_names: int = 1,
        shorten: bool = True,
    ) -> None:
        """Print a table; the first `num_names` columns are left-aligned, the others right-aligned.

        If the terminal is too narrow, names are shortened, unless `shorten` is false, and figures
        are not. A row that starts with 'total' is bold.
        """
        cells = [[escape_control(cell) for cell in row] for row in [columns, *rows]]
        width = self.width if shorten else None
        title = escape_control(title)

        if title:
            self._rich.print(Text(title, style="italic"))
        for number, line in enumerate(_aligned(cells, num_names, width)):
            is_bold = number == 0 or line.startswith("total")
            self._rich.print(Text(line, style="bold" if is_bold else ""))

        # a log has no width
        self.record("\n".join([*filter(None, [title]), *_aligned(cells, num_names, None)]))
        self._tell_loss()

    def _tell_loss(self) -> None:
        """Say once, in the log and on stderr, that lines reach only the log from now on."""
        loss = loss_of(self._stream)
        if loss is None or self._log is None or self._loss_is_told:
            return

        self._loss_is_told = True
        message = f"standard output is lost ({loss.strerror}); all lines are in {self._log.name}"
        self.record(message)
        say(message)

    def start_bar(
        self, total: int, completed: int, description: str, *, unit: str = "steps"
    ) -> None:
        """Show the progress bar; do nothing without a terminal."""
        if not self._progress_wanted:
            return

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn(f"{{task.completed}}/{{task.total}} {unit}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("left", markup=False),
            console=self._rich,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

        self._bar.add_task(escape_control(description), total=total, completed=completed)
        self._bar.start()
        self._rich.show_cursor()  # rich hides it, and a killed process could not give it back

    def advance_bar(self, completed: int, describe: Callable[[], str]) -> None:
        """Move the bar; cheap enough to be called after every step."""
        if self._bar is None or time.monotonic() < self._next_refresh:
            return

        self._next_refresh = time.monotonic() + 1 / REFRESHES_PER_SECOND
        self._bar.update(
            self._bar.task_ids[0], completed=completed, description=escape_control(describe())
        )

    def stop_bar(self) -> None:
        """Remove the bar and restore the cursor."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Stop the bar and close the log."""
        self.stop_bar()
        if self._log is not None:
            self._log.close()
            self._log = None


def _is_notebook(stream: IO[str]) -> bool:
    """Return whether a text goes to a Jupyter kernel, whose variables ask for colors in vain.

    rich takes them (FORCE_COLOR) for a terminal, and a page cannot move the cursor.
    """
    return "ipykernel" in sys.modules and not stream.isatty()


def _aligned(rows: Sequence[Sequence[str]], num_names: int, width: int | None) -> list[str]:
    """Return the rows as lines of equal columns; names are shortened to fit `width` cells."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]

    if width is not None:
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
        for i in reversed(range(num_names)):
            taken = max(0, min(excess, widths[i] - MIN_NAME_CELLS))
            widths[i], excess = widths[i] - taken, excess - taken

    return [_line(row, widths, num_names) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int], num_names: int) -> str:
    cells = []
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        if cell_len(cell) > width:
            cell = set_cell_size(cell, width - len(ELLIPSIS)).rstrip() + ELLIPSIS
        gap = " " * (width - cell_len(cell))
        cells.append(cell + gap if i < num_names else gap + cell)
    return GAP.join(cells).rstrip()
