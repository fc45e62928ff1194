"""Text from files and users, made safe to show on a terminal, in a log and in a spreadsheet.

All output of a command goes through here or through `console`; a test searches for other ways.
"""

import codecs
import shlex
import sys
from collections.abc import Iterable

FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of what a spreadsheet would evaluate as a formula; the last four are =+-@ in
full width, which some take for the plain ones.
"""


def escape_control(text: str) -> str:
    """Escape every control and unprintable character (\\x1b, \\n).

    File names, class names and texts in other people's files may hold terminal commands, or line
    breaks that imitate a message of ours. Letters of any script stay. A byte of a file name that
    is not UTF-8 is shown as that byte (\\xe4).
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python represents bytes that it cannot decode
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()


def listed(names: Iterable[str]) -> str:
    """Return names for a message, on one line: they may be those of somebody's files."""
    return ", ".join(map(escape_control, names))


def escape_lines(text: str) -> str:
    """Escape all control and unprintable characters except line breaks."""
    return "\n".join(map(escape_control, text.split("\n")))


def say(message: str, speaker: str = "cnnlab") -> None:
    """Write a message of one or more lines to stderr; commands write there in no other way.

    With one call, since several processes may write to the same terminal.
    """
    sys.stderr.write(f"{speaker}: {escape_lines(message)}\n")
    sys.stderr.flush()


def write_out(text: str) -> None:
    """Write a result that is not a table to stdout: a JSON document, a help page."""
    sys.stdout.write(f"{escape_lines(text)}\n")
    sys.stdout.flush()


def command_line(*words: str) -> str:
    """Return a command to suggest, quoted for a shell."""
    return escape_control(shlex.join(words))


def csv_cell(value: object) -> object:
    """Return the content of a CSV cell: numbers unchanged, None empty, text never a formula.

    A text that starts like a formula gets an apostrophe in front.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{escape_control(value)}" if value.startswith(FORMULA_MARKS) else escape_control(value)


PLAIN_SYMBOLS = {"·": "*", "×": "x", "²": "^2", "…": "..."}
"""ASCII replacements of our own symbols; other characters become an escape."""


def in_plain_symbols(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded; an error handler for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in lacking)
    shown = (PLAIN_SYMBOLS.get(c, e) for c, e in zip(lacking, escaped, strict=True))
    return "".join(shown), error.end


DEGRADING = "cnnlab.in_plain_symbols"
"""Name of the error handler for streams that cannot encode all characters (ASCII terminals)."""

codecs.register_error(DEGRADING, in_plain_symbols)
